"""Another revision of a repository on disk for as long as it is needed, and where in it the mechanisms are."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from attnbench.child import ProgramError, run_program
from attnbench.child.scratch import scratch
from attnbench.errors import UsageError
from attnbench.plugins.registry import Plugin
from attnbench.plugins.source import file_of, package_of

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePlace:
    """Where the code of a mechanism is: its top-level package, or its file."""

    plugin: Plugin
    path: Path
    """From the top of the repository; absolute where it is outside."""
    module: Path | None
    """The file of the mechanism itself, likewise; None if it is not to be found without importing it."""

    @property
    def within(self) -> bool:
        """Whether it is in the repository, so that a revision can change it."""
        return not self.path.is_absolute()

    def source(self, tree: Path) -> Path:
        """Return the package or file in a tree; one from outside is the same for every tree."""
        return tree / self.path

    def held_by(self, tree: Path) -> bool:
        """Return whether a tree has the mechanism: its file, and its package as one that no other folder can add to."""
        source = self.source(tree)
        is_there = source.is_file() or (source / "__init__.py").is_file()
        return is_there and (self.module is None or _as_module(tree / self.module))

    def outside(self, repository: Path) -> str:
        """Say that it is outside."""
        return (
            f"{self.plugin.name} from {self.plugin.distribution} is loaded from {self.path}, outside {repository}; "
            "install the repository with pip install --editable, or name a mechanism of its own"
        )


def place(plugin: Plugin, repository: Path) -> CodePlace:
    """Return where the code of a mechanism is."""
    module = file_of(plugin)
    if plugin.local:
        source = Path(plugin.module).resolve()
    else:
        # Found without importing it: no parent would be imported for it but attnbench.
        spec = importlib.util.find_spec(package_of(plugin.module))
        source = Path(spec.origin).resolve() if spec and spec.origin else Path()
        source = source.parent if source.name == "__init__.py" else source
    return CodePlace(
        plugin=plugin, path=_from(repository, source), module=_from(repository, module.resolve()) if module else None
    )


def _from(repository: Path, path: Path) -> Path:
    return path.relative_to(repository) if path.is_relative_to(repository) else path


def _as_module(file: Path) -> bool:
    """Return whether a module is there, as a file or as a folder."""
    folder = file.parent if file.name == "__init__.py" else file.with_suffix("")
    return folder.with_suffix(".py").is_file() or (folder / "__init__.py").is_file()


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
