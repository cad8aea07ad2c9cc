"""The rows of a run as they come: all files of its workers, of each only what was added since it was last read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from attnbench import files
from attnbench.fleet import presence
from attnbench.fleet.kinds import HardwareKind, counts_for
from attnbench.fleet.planned import PlannedGroup
from attnbench.reading import MisreadError, from_json
from attnbench.record import FORMAT, Cell, Record, Status
from attnbench.runs.job import Settings
from attnbench.store import parts


@dataclass(frozen=True, kw_only=True)
class KnownRow:
    """A row as far as it takes to see what is done: reading all of ten thousand takes seconds."""

    key: str
    """Of its cell."""
    line: str
    kind: str
    """Of hardware that its cell was asked for on, or that its machine was told to be; empty for neither."""
    hardware: str
    status: str
    reason: str

    @cached_property
    def record(self) -> Record:
        """All of it.

        Raises:
            MisreadError: it is no record.
        """
        return Record.from_json(self.line)

    def stands(self, settings: Settings) -> bool:
        """Return whether it is a row under these settings."""
        if self.status != Status.OVER_BUDGET:
            return True
        try:
            return settings.accept(self.record)
        except MisreadError:
            return False


class RowIndex:
    """What has its row by now, by cell."""

    def __init__(self, folder: Path, kinds: Mapping[str, HardwareKind], *, absent: bool = True) -> None:
        """Begin with none.

        Args:
            folder: of the run.
            kinds: of hardware that are asked for, by name.
            absent: whether rows count that say that no machine was there; they do for nobody who is on one.
        """
        self._folder, self._kinds, self._absent = folder, kinds, absent
        self._read: dict[Path, int] = {}
        self._rows: dict[str, list[KnownRow]] = {}
        self._told = dict[Path, str]()

    def refresh(self, *only: Path) -> None:
        """Read what was added. A line that is no record, or not at its end yet, is passed over: its cell has no row.

        Args:
            *only: parts to read; all if none is given.
        """
        for part in only or parts.of(self._folder):
            path = part / parts.RECORDS
            begun = self._read.get(path, 0)
            try:
                with files.opened(path) as file:
                    file.seek(begun)
                    whole, newline, _ = file.read().rpartition(b"\n")
            except OSError:
                continue
            self._read[path] = begun + len(whole) + len(newline)
            if part not in self._told:
                self._told[part] = presence.told_kind(part)
            for line in filter(None, whole.split(b"\n")):
                self._add(line.decode("utf-8", "replace"), self._told[part])

    def put_failed_aside(self) -> None:
        """Take what did not end ok for what has no row: it is to be measured again."""
        for key, rows in self._rows.items():
            self._rows[key] = [row for row in rows if row.status == Status.OK]

    def known(self, cells: tuple[Cell, ...], kind: str, settings: Settings) -> Iterator[KnownRow]:
        """Yield the row that stands of each cell that has one: that of most precedence, and of those the first."""
        for cell in cells:
            rows = self._rows.get(cell.key, ())
            stand = [
                row for row in rows if counts_for(row.kind, row.hardware, kind, self._kinds) and row.stands(settings)
            ]
            if stand:
                yield max(stand, key=lambda row: Status(row.status).precedence)

    def of(self, group: PlannedGroup, settings: Settings) -> list[Record]:
        """Return the rows of a group that stand, whole, but for those that cannot be read."""
        found = []
        for row in self.known(group.cells, group.needs.kind, settings):
            with contextlib.suppress(MisreadError):
                found.append(row.record)
        return found

    def keys(self, group: PlannedGroup, settings: Settings) -> set[str]:
        """Return the keys of the cells of a group that have a row."""
        return {row.key for row in self.known(group.cells, group.needs.kind, settings)}

    def is_done(self, group: PlannedGroup, settings: Settings) -> bool:
        """Return whether every cell of a group has its row."""
        return sum(1 for _ in self.known(group.cells, group.needs.kind, settings)) == len(group.cells)

    def _add(self, line: str, told: str) -> None:
        try:
            read = from_json(line)
            if read["format"] > FORMAT:
                return
            key, status, environment = read["cell_key"], Status(read["status"]), read["environment"]
            kind, reason, hardware = read.get("kind") or told, read["reason"], environment.get("hardware")
        except (MisreadError, AttributeError, KeyError, TypeError, ValueError):
            return
        if status is Status.ABSENT and not self._absent:
            return
        row = KnownRow(
            key=str(key), line=line, kind=str(kind), hardware=str(hardware or ""), status=status, reason=str(reason)
        )
        self._rows.setdefault(str(key), []).append(row)
