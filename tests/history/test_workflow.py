"""The workflow in docs/how-to/history.md, its scripts run in a clone, with a stand-in for what measures."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import yaml

from attnbench.cli import measuring

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "history.md").read_text()
JOB = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])["jobs"]["history"]
SCRIPTS = {step["name"]: step["run"] for step in JOB["steps"] if "name" in step}
ATTNBENCH = """#!/bin/sh
echo "$@" >> "$LOG"
case $1 in
run) while [ "$1" != --out ]; do shift; done; mkdir -p "$2"; echo row > "$2/records.jsonl" ;;
history) ls "$2" > said.md ;;
esac
"""


def git(folder: Path, *arguments: str) -> str:
    me = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *me, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_scripts_paste_nothing_of_others_and_the_sweep_is_one_that_run_takes() -> None:
    assert not [script for script in SCRIPTS.values() if "${{" in script]
    asked = measuring.run.make_context("run", shlex.split(JOB["env"]["SWEEP"])).params
    assert asked["mechanisms"] == ("hmhsa", "qna")


def test_rows_of_one_commit_after_the_other_are_kept_on_their_branch(tmp_path: Path) -> None:
    origin, tools = tmp_path / "origin.git", tmp_path / "tools"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    tools.mkdir()
    (tools / "attnbench").write_text(ATTNBENCH)
    (tools / "attnbench").chmod(0o755)
    kept = []
    for number in range(2):
        clone = tmp_path / str(number) / "work"
        git(tmp_path, "clone", "--quiet", str(origin), str(clone))
        (clone / "code").write_text(str(number))
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "-m", "a change")
        git(clone, "push", "--quiet", "origin", "HEAD:main")
        kept.append(git(clone, "rev-parse", "HEAD"))
        summary = tmp_path / f"{number}.md"
        variables = {
            "PATH": f"{tools}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), "GITHUB_SHA": kept[-1],
            "GITHUB_STEP_SUMMARY": str(summary), "SWEEP": JOB["env"]["SWEEP"],
        }  # fmt: skip
        for name in ("what is kept", "this commit", "keep it"):
            done = subprocess.run(
                ["bash", "-e", "-c", SCRIPTS[name]], cwd=clone, env=os.environ | variables, capture_output=True,
                text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (name, done.stderr)
        assert set(summary.read_text().split()) == set(kept)
    assert set(git(origin, "ls-tree", "--name-only", "attnbench-history").split()) == set(kept)
