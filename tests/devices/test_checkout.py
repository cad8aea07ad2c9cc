"""In which commit of a project a run was started."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from attnbench.devices import checkout


def git(folder: Path, *arguments: str) -> str:
    me = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *me, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_project_says_its_commit_its_date_and_whether_it_was_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "mine.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    for run in ("results/x", "elsewhere"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "records.jsonl").write_text("what a run writes is no change of the project")
    found = checkout.project(tmp_path, but=tmp_path / "elsewhere")
    assert found == {
        "project_commit": git(tmp_path, "rev-parse", "HEAD"),
        "project_committed_at": git(tmp_path, "log", "-1", "--format=%cI"),
        "project_clean": True,
    }
    (tmp_path / "mine.py").write_text("x = 1\n")
    assert checkout.project(tmp_path, but=tmp_path / "elsewhere")["project_clean"] is False


def test_a_folder_of_no_project_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkout.project(tmp_path, but=tmp_path / "results") == {}
