"""What a run was asked for, kept beside its records, so that a report can say what is missing and how to go on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from attnbench import files
from attnbench.errors import StoreError
from attnbench.reading import MisreadError

ASKED = "asked.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Everything that was asked of one folder, by all commands since it was started.

    Example:
        >>> asked = Asked(by_command={"attnbench run": {"0f3a": "qna at 224", "77c1": "qna at 512"}})
        >>> asked.missing(["0f3a"])
        ('qna at 512',)
    """

    by_command: Mapping[str, Mapping[str, str]]
    """The cells that each command last asked for, as it was typed: in a few words each, by their key."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands, those that nobody typed left out."""
        return tuple(filter(None, self.by_command))

    @property
    def cells(self) -> dict[str, str]:
        """The cells of all commands."""
        return {key: words for cells in self.by_command.values() for key, words in cells.items()}

    def missing(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Return the cells whose keys are not among these."""
        there = set(keys)
        return tuple(words for key, words in self.cells.items() if key not in there)


NOTHING = Asked(by_command={})


def held(folder: Path) -> Asked:
    """Return what a run's folder holds of what it was asked for; nothing if it does not say.

    Raises:
        MisreadError: what it says cannot be read.
    """
    path = folder / ASKED
    return files.json_of(path, Asked) if path.is_file() else NOTHING


def read(folder: Path) -> Asked:
    """Return what a run was asked for; nothing if it does not say, with a warning if that cannot be read."""
    try:
        return held(folder)
    except MisreadError as error:
        warnings.warn(f"{error}; what was asked for before is not known", stacklevel=2)
        return NOTHING


def keep(folder: Path, *, command: str, cells: Mapping[str, str], fresh: bool) -> None:
    """Add a command and its cells to what a run was asked for, in place of what the same command asked for before.

    What was there and cannot be read, torn by a power cut or of a later attnbench, is set aside with a warning.

    Args:
        folder: of the run.
        command: as typed; empty if nobody typed one.
        cells: in a few words each, by their key.
        fresh: forget what was asked for before.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        before = NOTHING if fresh else _read_or_set_aside(folder)
        asked = Asked(by_command={**before.by_command, command: dict(cells)})
        files.put(folder / ASKED, json.dumps(asdict(asked), indent=1) + "\n", sync=True)
    except OSError as error:
        said = files.reason_of(error)
        raise StoreError(f"cannot write {folder}: {said}; give another folder with --out") from None


def _read_or_set_aside(folder: Path) -> Asked:
    path = folder / ASKED
    if not path.exists():
        return NOTHING
    try:
        return files.json_of(path, Asked)
    except MisreadError as error:
        aside = files.set_aside(path, "unread")
        warnings.warn(f"{error}; it is kept as {aside.name}, and begun anew", stacklevel=3)
        return NOTHING
