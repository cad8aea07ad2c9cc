"""The workflows for pull requests, their steps run as a runner would: a script each, in a clone with a merge commit.

Two things are not as on a runner. The packages that attnbench depends on, and attnbench itself where a plugin needs it,
lie there already, and pip is told to look nowhere else. And the sweep is a small one.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from installations import ROOT, activated, build_wheel, copy_sources, install, make_environment

from attnbench.cli import results
from attnbench.plugins import scaffold

OURS = ROOT / ".github" / "workflows" / "tests.yml"
# Stage 3 at 32 pixels is a map of 2 x 2. The threshold keeps a busy machine from calling unchanged code slower.
TINY = "--scope layer --res 32 --threads 1 --threshold 0.5"
OFFLINE = ("--no-index", "--no-build-isolation", "--disable-pip-version-check")
DONE_BEFORE = {"actions/checkout", "actions/setup-python"}
MORE_WORK = """

once = {name}.forward
{name}.forward = lambda self, x: once(self, once(self, x))
"""


def speed_job(workflow: Path) -> dict[str, Any]:
    return yaml.safe_load(workflow.read_text())["jobs"]["speed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A repository with a workflow, and an environment such as its runner starts from."""

    origin: Path
    workflow: Path
    python: Path
    module: str
    class_name: str
    sweep: str

    @property
    def more_work(self) -> dict[str, str]:
        return {self.module: MORE_WORK.format(name=self.class_name)}


def git(folder: Path, *arguments: str) -> None:
    me = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "advice.detachedHead=false")
    subprocess.run(["git", "-C", str(folder), *me, *arguments], check=True, capture_output=True)


def commit(folder: Path, added: dict[str, str]) -> None:
    for path, text in added.items():
        with (folder / path).open("a") as file:
            file.write(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "a change")


def repository(folder: Path) -> Path:
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, {".gitignore": "__pycache__/\n*.egg-info/\nresults/\n"})
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return this project with one mechanism only, and an environment without attnbench."""
    folder = tmp_path_factory.mktemp("ours")
    origin = folder / "origin"
    origin.mkdir()
    copy_sources(origin)
    only = re.sub(
        r'(?<=\[project.entry-points."attnbench.mechanisms"\]\n).*?(?=\n\[)',
        'mhsa = "attnbench.mechanisms.mhsa:MHSA"\n',
        (origin / "pyproject.toml").read_text(),
        flags=re.DOTALL,
    )
    (origin / "pyproject.toml").write_text(only)
    python = make_environment(folder / "env")
    return Project(
        origin=repository(origin), workflow=OURS, python=python,
        module="mechanisms/mhsa/attention.py", class_name="MHSA", sweep=TINY,
    )  # fmt: skip


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return what ``attnbench new`` writes, and an environment with attnbench from its wheel."""
    folder = tmp_path_factory.mktemp("theirs")
    origin = folder / "origin"
    scaffold.create("mine", origin)
    python = make_environment(folder / "env")
    install(python, build_wheel(python, folder))
    workflow = origin / ".github" / "workflows" / "speed.yml"
    return Project(
        origin=repository(origin), workflow=workflow, python=python,
        module="mine/attention.py", class_name="Mine", sweep=f"--mechanisms mine {TINY}",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of a job."""

    exit_status: int
    log: str
    summary: str


def merged(project: Project, folder: Path, *, change: dict[str, str], meanwhile: dict[str, str]) -> Path:
    """Open a pull request that adds to some files, while main adds to others; return what a runner checks out.

    That is a merge of both. Main goes back to where it was before the job runs, which is no doing of the request.
    """
    origin, workspace = folder / "origin", folder / "workspace"
    git(folder, "clone", "--quiet", str(project.origin), str(origin))
    git(origin, "switch", "--quiet", "--create", "change")
    commit(origin, change)
    git(origin, "switch", "--quiet", "main")
    commit(origin, meanwhile)
    git(origin, "switch", "--quiet", "--detach")
    git(origin, "merge", "--quiet", "--no-ff", "--no-edit", "change")
    git(origin, "update-ref", "refs/pull/1/merge", "HEAD")
    git(origin, "switch", "--quiet", "main")
    git(origin, "revert", "--no-edit", "HEAD")
    git(folder, "clone", "--quiet", str(origin), str(workspace))
    git(workspace, "fetch", "--quiet", "origin", "refs/pull/1/merge")
    git(workspace, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    return workspace


def run_job(project: Project, workspace: Path) -> Run:
    """Run the steps in order, each by ``bash -e`` in a script of its own, up to one that fails."""
    job, log, summary = speed_job(project.workflow), "", ""
    runner = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_BASE_REF": "main"}
    for number, step in enumerate(job["steps"]):
        if step.get("uses", "").partition("@")[0] in DONE_BEFORE:
            continue
        script, said = workspace.parent / f"{number}.sh", workspace.parent / f"{number}.md"
        script.write_text(step["run"].replace("pip install", shlex.join(["pip", "install", *OFFLINE])))
        said.touch()
        variables = {**job["env"], "SWEEP": project.sweep, **runner, "GITHUB_STEP_SUMMARY": str(said)}
        done = subprocess.run(
            ["bash", "-e", str(script)], cwd=workspace, env=activated(project.python) | variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        log, summary = log + done.stdout, summary + said.read_text()
        if done.returncode:
            return Run(exit_status=done.returncode, log=log, summary=summary)
    return Run(exit_status=0, log=log, summary=summary)


@pytest.mark.slow
def test_a_pull_request_that_costs_nothing_passes_whatever_main_did_meanwhile(theirs: Project, tmp_path: Path) -> None:
    workspace = merged(theirs, tmp_path, change={"README.md": "\nMore.\n"}, meanwhile=theirs.more_work)
    run = run_job(theirs, workspace)
    assert run.exit_status == 0, run.log
    assert "| cell | base | head | head / base | verdict |" in run.summary
    assert re.search(r"^\| mine \|.*\| (SAME|\*\*UNDECIDED\*\*) \|", run.summary, re.MULTILINE), run.summary
    assert "Exact figures" not in run.summary


@pytest.mark.slow
def test_a_pull_request_that_costs_more_multiply_adds_fails_and_says_so(ours: Project, tmp_path: Path) -> None:
    workspace = merged(ours, tmp_path, change=ours.more_work, meanwhile={"README.md": "\nMore.\n"})
    run = run_job(ours, workspace)
    assert run.exit_status == 1, run.log
    assert "worse" in run.summary.splitlines()[0]
    doubled = r"^\| mhsa \| MACs by torch's counter \|.*\(\+100 %\)\*\* \|$"
    assert re.search(doubled, run.summary, re.MULTILINE), run.summary
    assert "Exact figures that changed" in run.log


def test_the_workflow_of_a_new_plugin_has_the_steps_of_ours(tmp_path: Path) -> None:
    scaffold.create("mine", tmp_path / "new")
    new = speed_job(tmp_path / "new" / ".github" / "workflows" / "speed.yml")
    assert new["steps"] == speed_job(OURS)["steps"]


def test_no_step_pastes_what_others_write_into_its_script() -> None:
    assert not [step["run"] for step in speed_job(OURS)["steps"] if "${{" in step.get("run", "")]


@pytest.mark.parametrize("name", ["mine", "ring-attention"])
def test_the_sweeps_are_ones_that_compare_takes(name: str, tmp_path: Path) -> None:
    scaffold.create(name, tmp_path / "new")
    given = {}
    for workflow in (OURS, tmp_path / "new" / ".github" / "workflows" / "speed.yml"):
        sweep = shlex.split(speed_job(workflow)["env"]["SWEEP"])
        given = results.compare.make_context("compare", ["--rerun", "HEAD", *sweep]).params
        assert given["scope"] == ("layer",)
    assert given["mechanisms"] == (name,)
