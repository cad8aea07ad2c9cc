"""Another revision of a repository on disk for as long as it is needed, and where in it the mechanisms are."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnbench.child import ProgramError, run_program
from attnbench.child.scratch import scratch
from attnbench.errors import UsageError
from attnbench.plugins.registry import Plugin

_OF_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
"""Set where git calls us, from a hook say; they would point every command at that repository."""


def root(folder: Path) -> Path:
    """Return the top of the repository that a folder is in.

    Raises:
        UsageError: it is in none, or there is no git.
    """
    return Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()


@contextmanager
def checked_out(repository: Path, revision: str) -> Iterator[Path]:
    """Check a revision out into a folder of its own, which is gone again when the block is left, whichever way.

    Neither the working tree nor a branch is touched, and no hook of the repository runs.

    Raises:
        UsageError: there is no such revision, or git cannot check it out.
    """
    commit = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    with scratch() as folder:
        tree = folder.resolve() / "tree"
        try:
            _git(repository, "worktree", "add", "--detach", "--quiet", str(tree), commit)
            yield tree
        finally:
            if tree.exists():
                _git(repository, "worktree", "remove", "--force", str(tree))


def place(plugin: Plugin, repository: Path) -> Path:
    """Return where in a repository the code of a mechanism is: its top-level package, or its file.

    Raises:
        UsageError: the code is not in the repository, so that no revision of it changes anything.
    """
    if plugin.local:
        source = Path(plugin.module).resolve()
    else:
        # Found without importing it: a top-level name has no parent that would be imported for it.
        spec = importlib.util.find_spec(plugin.module.partition(".")[0])
        source = Path(spec.origin).resolve() if spec and spec.origin else Path()
        source = source.parent if source.name == "__init__.py" else source
    if not source.is_relative_to(repository):
        raise UsageError(
            f"{plugin.name} from {plugin.distribution} is loaded from {source}, outside {repository}; "
            "install the repository with pip install --editable, or name a mechanism of its own"
        )
    return source.relative_to(repository)


def holds(tree: Path, place: Path) -> bool:
    """Return whether a tree has the code of a place: a file, or a package that no other folder can add to."""
    return (tree / place).is_file() or (tree / place / "__init__.py").is_file()


def _git(repository: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
    command = ["git", "-C", str(repository), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        return run_program(command, environment=environment)
    except FileNotFoundError:
        raise UsageError("--rerun needs git, which is not installed") from None
    except ProgramError as error:
        said = str(error) or "no such revision"
        raise UsageError(f"git {' '.join(arguments)} in {repository}: {said}") from None
