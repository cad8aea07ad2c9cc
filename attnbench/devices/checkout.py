"""Which commit code is of, as git says it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attnbench.devices import machine

Facts = Mapping[str, str | bool | None]

_AS_IT_IS = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
"""Whatever a repository is set up to do when it is asked."""


def own(folder: Path, run: machine.Run) -> Facts:
    """Say which commit a folder is of, if its repository tracks it: one that merely surrounds it is another's."""
    tracked = _git(folder, run, "ls-files", "--error-unmatch", "__init__.py")
    # A run that writes below results/ would call itself changed.
    changes = _git(folder, run, "status", "--porcelain", "--", ":(top)", ":(top,exclude)results") if tracked else None
    return {
        "commit": _git(folder, run, "rev-parse", "HEAD") if tracked else None,
        "clean": None if changes is None else not changes,
    }


def project(folder: Path, *, but: Path, run: machine.Run = machine.run_command) -> Facts:
    """Say in which commit of a project a run was started; nothing where there is none.

    Args:
        folder: from which it was started.
        but: the folder of the run, which is no change of the project; ``results`` at its top is none either.
        run: runs git.
    """
    commit, _, committed_at = (_git(folder, run, "log", "-1", "--format=%H %cI") or "").strip().partition(" ")
    if not commit:
        return {}
    left_out = [":(top,exclude)results", *([f":(exclude){but}"] if but.resolve().is_relative_to(folder) else [])]
    changes = _git(folder, run, "status", "--porcelain", "--", ":(top)", *left_out)
    return {
        "project_commit": commit,
        "project_committed_at": committed_at,
        "project_clean": None if changes is None else not changes,
    }


def _git(folder: Path, run: machine.Run, *arguments: str) -> str | None:
    return run(["git", *_AS_IT_IS, "-C", str(folder), *arguments])
