"""What a run was asked for, kept beside its records, so that a report can say what is missing and how to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from attnbench.errors import StoreError
from attnbench.reading import structured

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


def read(folder: Path) -> Asked:
    """Return what a run was asked for; nothing if it does not say.

    Raises:
        StoreError: what is there is not what ``keep`` writes.
    """
    path = folder / ASKED
    if not path.is_file():
        return NOTHING
    try:
        return structured(json.loads(path.read_text(encoding="utf-8")), Asked)
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}; remove it to go without") from None


def keep(folder: Path, *, command: str, cells: Mapping[str, str], fresh: bool) -> None:
    """Add a command and its cells to what a run was asked for, in place of what the same command asked for before.

    Args:
        folder: of the run.
        command: as typed; empty if nobody typed one.
        cells: in a few words each, by their key.
        fresh: forget what was asked for before.

    Raises:
        StoreError: the folder cannot be written.
    """
    before = NOTHING if fresh else read(folder)
    asked = Asked(by_command={**before.by_command, command: dict(cells)})
    try:
        (folder / ASKED).write_text(json.dumps(asdict(asked), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}; give another folder with --out") from None
