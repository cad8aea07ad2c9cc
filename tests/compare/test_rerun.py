"""Another revision measured in lock-step: a small repository, and children that do what its mechanism's file says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnbench import mechanisms
from attnbench.compare import lockstep, starts, together, worktree
from attnbench.compare.account import Account
from attnbench.compare.rerun import Modules, rerun
from attnbench.compare.side import LockstepSide, start
from attnbench.compare.verdict import LATENCY, Comparison, Outcome
from attnbench.errors import PluginError, UsageError
from attnbench.plugins.registry import Plugin, from_file
from attnbench.record import Cell, Record, Scope, Status, Task
from attnbench.runs.job import SPAWN, Assignment, Settings
from attnbench.runs.progress import Progress

PACKAGE = """
import torch
from attnbench.mechanism import Macs, Mechanism

class Scaling(Mechanism):
    \"\"\"Scales its map.\"\"\"

    def __init__(self, site{options}):
        super().__init__(site)
        self.weight = torch.nn.Parameter(torch.ones({parameters}))

    def forward(self, x):
        return x * self.weight[0]

    @classmethod
    def macs(cls, site, **options):
        return Macs(projections=1, attention=0)
"""
QUICK = Settings(precision=0.01, max_time_s=0.5, timeout_s=120, isolation=SPAWN)
FAKE = Modules(together="fake_joint", apart="fake_lockstep")


def git(repository: Path, *arguments: str) -> str:
    me = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | me).stdout.strip()


def commit(repository: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(content)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "a change")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = (tmp_path / "repository").resolve()
    top.mkdir()
    git(top, "init", "--quiet")
    return top


def worktrees(repository: Path) -> int:
    return len(git(repository, "worktree", "list").splitlines())


@pytest.fixture
def _fake_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"), prepend=os.pathsep)
    monkeypatch.setattr(starts, "FEWEST", 3)


def acting(base: dict[str, Any] | None, head: dict[str, Any], repository: Path, **how: Any) -> Comparison:
    """Rerun a mechanism whose file says one thing in base and another in the working tree."""
    ordinary = {"ns": 1_000_000, "macs": 7}
    first = commit(repository, {"mine.py": json.dumps(ordinary | base)} if base is not None else {"other.py": ""})
    (repository / "mine.py").write_text(json.dumps(ordinary | head))
    settings = how.pop("settings", QUICK)
    mine = cell(f"{repository / 'mine.py'}:Mine")
    return rerun(
        first,
        [mine, *how.pop("beside", [])],
        settings=settings,
        folder=repository.parent / "run",
        repository=repository,
        modules=FAKE,
        **how,
    )


def cell(mechanism: str, **asked: Any) -> Cell:
    site = {"scope": Scope.LAYER, "height": 32, "width": 32, "stage": 1, "dim": 8, "heads": 2, "depth": 1}
    return Cell(**{"mechanism": mechanism, **site, **asked})


def test_a_revision_is_checked_out_beside_the_working_tree_and_gone_afterwards(repository: Path) -> None:
    commit(repository, {"a.txt": "base"})
    commit(repository, {"a.txt": "head"})
    (repository / "a.txt").write_text("changed")
    with worktree.checked_out(repository, "HEAD~1") as tree:
        assert (tree / "a.txt").read_text() == "base"
        assert worktrees(repository) == 2
    assert (repository / "a.txt").read_text() == "changed"
    assert not tree.exists()
    assert worktrees(repository) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_checkout_is_removed_after_errors_and_interrupts(repository: Path, error: type[BaseException]) -> None:
    commit(repository, {"a.txt": "base"})
    trees = []

    def fail() -> None:
        with worktree.checked_out(repository, "HEAD") as tree:
            trees.append(tree)
            (tree / "left.txt").write_text("not in git")
            raise error

    with pytest.raises(error):
        fail()
    assert not trees[0].exists()
    assert worktrees(repository) == 1


def test_no_hook_runs_and_no_branch_moves(repository: Path) -> None:
    commit(repository, {"a.txt": "base"})
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repository}/hooked\n")
    hook.chmod(0o755)
    before = git(repository, "for-each-ref")
    with worktree.checked_out(repository, "HEAD"):
        pass
    assert git(repository, "for-each-ref") == before
    assert not (repository / "hooked").exists()


def test_a_hook_that_calls_us_does_not_lead_git_astray(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(repository, {"a.txt": "base"})
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert worktree.root(repository) == repository


@pytest.mark.parametrize("revision", ["no-such-branch", "--force", ""])
def test_what_is_no_revision_is_refused(repository: Path, revision: str) -> None:
    commit(repository, {"a.txt": "base"})
    with pytest.raises(UsageError, match="git rev-parse"), worktree.checked_out(repository, revision):
        pass


def test_outside_a_repository_rerun_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        worktree.root(tmp_path)


def test_mechanisms_from_elsewhere_alone_are_refused_with_where_they_are(repository: Path, tmp_path: Path) -> None:
    first = commit(repository, {"a.txt": "base"})
    (tmp_path / "far.py").write_text("{}")
    with pytest.raises(UsageError, match=r"far\.py:Far from far\.py sha256:.* is loaded from .*far\.py, outside"):
        rerun(
            first, [cell(f"{tmp_path / 'far.py'}:Far")], settings=QUICK, folder=tmp_path / "run", repository=repository
        )


def test_a_local_file_has_its_place_in_the_repository(repository: Path) -> None:
    commit(repository, {"plugins/mine.py": ""})
    plugin = from_file(repository / "plugins" / "mine.py", "Mine")
    assert worktree.place(plugin, repository).path == Path("plugins/mine.py")


def test_a_folder_without_an_init_holds_no_package_for_another_tree_could_fill_it(tmp_path: Path) -> None:
    plugin = Plugin(name="tiny", module="tiny.layer", attribute="A", distribution="tiny 1.0")
    tiny = worktree.CodePlace(plugin=plugin, path=Path("tiny"), module=Path("tiny/layer.py"))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "layer.py").touch()
    assert not tiny.held_by(tmp_path)
    (tmp_path / "tiny" / "__init__.py").touch()
    assert tiny.held_by(tmp_path)


@pytest.mark.parametrize(("file", "held"), [("layer.py", True), ("layer/__init__.py", True), ("other.py", False)])
def test_a_revision_that_has_the_package_but_not_the_module_lacks_the_mechanism(
    tmp_path: Path, file: str, held: bool
) -> None:
    plugin = Plugin(name="tiny", module="tiny.layer", attribute="A", distribution="tiny 1.0")
    for name in ("__init__.py", file):
        (tmp_path / "tiny" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tiny" / name).touch()
    place = worktree.CodePlace(plugin=plugin, path=Path("tiny"), module=Path("tiny/layer.py"))
    assert place.held_by(tmp_path) is held


@pytest.mark.usefixtures("_fake_child")
@pytest.mark.parametrize(
    ("ns", "outcome"), [(1_000_000, Outcome.SAME), (1_200_000, Outcome.SLOWER), (800_000, Outcome.FASTER)]
)
def test_base_and_head_are_told_apart_on_a_machine_that_drifts(repository: Path, ns: int, outcome: Outcome) -> None:
    (verdict,) = acting({}, {"ns": ns}, repository).about(LATENCY)
    assert verdict.outcome is outcome
    assert verdict.change is not None
    assert verdict.change.value == pytest.approx(ns / 1e6, rel=0.01)
    assert verdict.head / verdict.base == pytest.approx(verdict.change.value)  # type: ignore[operator]
    assert verdict.detectable is not None
    assert 0.05 < verdict.detectable < 0.07
    assert verdict.reason == ""


@pytest.mark.usefixtures("_fake_child")
@pytest.mark.parametrize(("ns", "outcome"), [(1_000_000, Outcome.SAME), (1_200_000, Outcome.SLOWER)])
def test_what_cannot_share_a_process_is_told_apart_in_a_process_each(
    repository: Path, ns: int, outcome: Outcome
) -> None:
    lines: list[str] = []
    (verdict,) = acting({}, {"ns": ns, "apart": True}, repository, say=lines.append).about(LATENCY)
    assert verdict.outcome is outcome
    assert verdict.reason.startswith("timed in a process for each, starting: it says so")
    assert verdict.head / verdict.base == pytest.approx(verdict.change.value)  # type: ignore[operator,union-attr]
    assert "not in one process (starting: it says so); in one each, started several times" in lines[1]
    assert [line.partition(": ")[2].split(",")[0] for line in lines[2 : 2 + starts.FEWEST]] == [
        f"start {count} timed" for count in range(1, starts.FEWEST + 1)
    ]


@pytest.mark.usefixtures("_fake_child")
def test_a_disturbance_is_named_and_does_not_widen_what_was_interleaved(repository: Path) -> None:
    said = "other processes used 60 % of a core"
    (verdict,) = acting({}, {"disturbed": said}, repository).about(LATENCY)
    assert verdict.outcome is Outcome.SAME
    assert verdict.reason == f"{said}: both sides alike, and what it shifts is in the interval"


@pytest.mark.usefixtures("_fake_child")
def test_a_mechanism_from_elsewhere_is_a_control(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text(json.dumps({"ns": 3_000_000, "macs": 1}))
    found = acting({}, {"ns": 1_200_000}, repository, beside=[cell(f"{tmp_path / 'far.py'}:Far")])
    mine, control = found.about(LATENCY)
    assert (mine.outcome, control.outcome) == (Outcome.SLOWER, Outcome.SAME)
    assert control.reason == "a control: the code is the same in base and head"


@pytest.mark.usefixtures("_fake_child")
def test_a_process_that_has_one_block_is_followed_by_others(repository: Path) -> None:
    (verdict,) = acting({}, {"once": True}, repository).about(LATENCY)
    assert verdict.outcome is Outcome.SAME
    with np.load(next((repository.parent / "run" / "samples").iterdir())) as arrays:
        assert sum(name.startswith("base_") for name in arrays) >= together.FEWEST


@pytest.mark.usefixtures("_fake_child")
@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ({"ends_after": 3}, "killed by SIGSEGV while timing (no more of this)"),
        ({"lies_after": 3}, "it said a block without times"),
    ],
)
def test_a_process_that_ends_or_lies_while_both_are_timed_leaves_them_to_processes_of_their_own(
    repository: Path, acts: dict[str, Any], why: str
) -> None:
    (verdict,) = acting({}, acts, repository).about(LATENCY)
    assert verdict.outcome is Outcome.SAME
    assert verdict.reason.startswith(f"timed in a process for each, {why}")


@pytest.mark.usefixtures("_fake_child")
@pytest.mark.parametrize("how", [{}, {"apart": True}])
def test_what_was_counted_and_the_samples_of_every_block_are_kept(repository: Path, how: dict[str, Any]) -> None:
    comparison = acting({}, {"macs": 9} | how, repository)
    (macs,) = comparison.about("macs")
    assert (macs.base, macs.head, macs.outcome) == (7, 9, Outcome.WORSE)
    (path,) = (repository.parent / "run" / "samples").iterdir()
    with np.load(path) as arrays:
        assert {f"{side}_{block}_elapsed_ns" for side in ("base", "head") for block in range(3)} <= set(arrays)


@pytest.mark.usefixtures("_fake_child")
def test_a_side_that_dies_has_its_status_and_its_last_words(repository: Path) -> None:
    lines: list[str] = []
    (verdict,) = acting({}, {"dies_after": 20}, repository, say=lines.append).about("status")
    assert (verdict.outcome, verdict.base, verdict.head) == (Outcome.WORSE, "ok", "crashed")
    assert verdict.reason.startswith("killed by SIGTERM while timing (no more of this)")
    assert f"cpu: head crashed: {verdict.reason}; " in lines[-1]


@pytest.mark.usefixtures("_fake_child")
def test_a_signal_without_a_name_is_named(repository: Path) -> None:
    dies = {"dies_after": 20, "signal": signal.SIGRTMIN + 1}
    (verdict,) = acting({}, dies, repository).about("status")
    assert verdict.reason == "killed by signal 35 while timing (no more of this)"


@pytest.mark.usefixtures("_fake_child")
def test_a_side_that_hangs_ends_at_its_deadline(repository: Path) -> None:
    settings = replace(QUICK, timeout_s=5)
    (verdict,) = acting({}, {"hangs_after": 9}, repository, settings=settings).about("status")
    assert (verdict.head, verdict.reason[:32]) == ("timeout", "timing took longer than 5 s; rai")


@pytest.mark.usefixtures("_fake_child")
def test_a_failure_of_base_that_head_mended_is_better(repository: Path) -> None:
    (verdict,) = acting({"fails": "RuntimeError: no kernel"}, {}, repository).about("status")
    assert (verdict.outcome, verdict.reason) == (Outcome.BETTER, "RuntimeError: no kernel")


@pytest.mark.usefixtures("_fake_child")
def test_a_mechanism_that_base_does_not_have_is_only_in_head(repository: Path) -> None:
    commit(repository, {"old.py": json.dumps({"ns": 1_000_000, "macs": 7})})
    comparison = acting(None, {}, repository, beside=[cell(f"{repository / 'old.py'}:Old")])
    assert [one.mechanism for one in comparison.only_in_head] == [f"{repository / 'mine.py'}:Mine"]
    assert [verdict.cell.mechanism for verdict in comparison.about(LATENCY)] == [f"{repository / 'old.py'}:Old"]


@pytest.mark.usefixtures("_fake_child")
def test_an_option_that_base_does_not_have_is_told(repository: Path) -> None:
    (verdict,) = acting({}, {"options": {"qk_norm": False}}, repository).about(LATENCY)
    assert verdict.reason == "option qk_norm=False in head only"


@pytest.mark.usefixtures("_fake_child")
def test_every_value_of_an_option_that_base_does_not_have_is_compared_with_base(repository: Path) -> None:
    first = commit(repository, {"mine.py": json.dumps({"ns": 1_000_000, "macs": 7})})
    (repository / "mine.py").write_text(json.dumps({"ns": 1_000_000, "macs": 7, "knows": ["window"]}))
    both = [cell(f"{repository / 'mine.py'}:Mine", options={"window": window}) for window in (7, 14)]
    folder = repository.parent / "run"
    comparison = rerun(first, both, settings=QUICK, folder=folder, repository=repository, modules=FAKE)
    assert [one.reason for one in comparison.about(LATENCY)] == [
        "option window=7 in head only",
        "option window=14 in head only",
    ]


@pytest.mark.usefixtures("_fake_child")
def test_accuracy_is_left_out_and_nothing_else_to_measure_is_refused(repository: Path) -> None:
    first = commit(repository, {"mine.py": "{}"})
    trained = cell(f"{repository / 'mine.py'}:Mine", task=Task.ACCURACY)
    with pytest.raises(UsageError, match="nothing to compare"):
        rerun(first, [trained], settings=QUICK, folder=repository.parent / "run", repository=repository)


@pytest.mark.usefixtures("_fake_child")
def test_an_interrupt_ends_the_children_and_removes_the_checkout(repository: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.phase == "timing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acting({}, {}, repository, watcher=interrupt)
    assert worktrees(repository) == 1


@pytest.mark.usefixtures("_fake_child")
def test_the_first_line_says_how_long_it_may_take_and_the_last_how_it_ended(repository: Path) -> None:
    lines: list[str] = []
    acting({}, {}, repository, say=lines.append)
    assert "1 cell, both revisions of each in one process, with at most 1 s of rounds; this may take 16 s" in lines[0]
    assert re.fullmatch(r"\[1/1\] .*Mine at 32 stage 1 infer float32 cpu: ok; \d+ s so far", lines[-1])


def test_the_time_left_is_that_of_the_cells_that_are_left() -> None:
    lines: list[str] = []
    cells = [cell("a"), cell("b"), cell("c")]
    now = iter([100.0, 130.0])
    ok = Record(cell=cells[0], status=Status.OK)
    Account(cells=cells, say=lines.append, clock=lambda: next(now)).ended(cells[0], ok, ok)
    assert lines == ["[1/3] a at 32 stage 1 infer float32 cpu: ok; 30 s so far, about 60 s left"]


def test_each_side_loads_its_own_revision_of_an_installed_package(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_points = "[attnbench.mechanisms]\ntiny_scaling = tiny.layer:Scaling\n"
    metadata = {"METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n", "entry_points.txt": entry_points}
    commit(
        repository,
        {
            "tiny/__init__.py": "",
            "tiny/layer.py": PACKAGE.format(parameters=3, options=""),
            **{f"tiny-1.0.dist-info/{name}": content for name, content in metadata.items()},
        },
    )
    (repository / "tiny" / "layer.py").write_text(PACKAGE.format(parameters=5, options=", *, factor: float = 2.0"))
    monkeypatch.setenv("PYTHONPATH", str(repository), prepend=os.pathsep)
    with worktree.checked_out(repository, "HEAD") as tree:
        asked = Assignment(cell=cell("tiny_scaling", options={"factor": 2.0}))
        base, head = (
            told_apart(asked, top / "tiny", tmp_path / name) for name, top in (("base", tree), ("head", repository))
        )
    assert (base.metrics["params"], head.metrics["params"]) == (3, 5)
    assert (base.cell.options, head.cell.options) == ({}, {"factor": 2.0})


WITH_A_PARAMETER_MORE = """
from functools import wraps
from torch import nn, zeros

_built = QnA.__init__

@wraps(_built)
def _more(self, *args, **options):
    _built(self, *args, **options)
    self.more = nn.Parameter(zeros(1000))

QnA.__init__ = _more
"""


def test_each_side_loads_its_own_revision_of_the_built_ins(tmp_path: Path) -> None:
    """In a process each, as those that define operators for torch are compared."""
    here = Path(mechanisms.__file__).parent
    changed = shutil.copytree(here, tmp_path / "tree" / "mechanisms", ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "qna" / "__init__.py").open("a") as file:
        file.write(WITH_A_PARAMETER_MORE)
    ours, theirs = (
        told_apart(Assignment(cell=cell("qna")), source, tmp_path / name).metrics["params"]
        for name, source in (("ours", here), ("theirs", changed))
    )
    assert isinstance(ours, int)
    assert theirs == ours + 1000


def told_apart(asked: Assignment, source: Path, scratch: Path) -> LockstepSide:
    """Return a side that ended, after it has prepared and taken a turn in a process of its own."""
    with start(
        asked,
        source,
        settings=QUICK,
        scratch=scratch,
        log=scratch.with_suffix(".log"),
        watcher=lambda _: None,
        module="attnbench.compare.lockstep",
        core=None,
    ) as side:
        assert side.prepare(), side.reason
        assert side.sample(3).ns > 0
    return side


def test_a_package_that_an_import_hook_took_from_elsewhere_is_refused(tmp_path: Path) -> None:
    hooked = Plugin(name="far", module="json.decoder", attribute="A", distribution="far 1.0")
    with pytest.raises(PluginError, match=rf"json was loaded from .* rather than from {tmp_path}"):
        lockstep._check_origin(hooked, tmp_path)
