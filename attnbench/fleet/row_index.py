"""The rows of a run as they come: all files of its workers, of each only what was added since it was last read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attnbench.fleet.kinds import HardwareKind, counts_for
from attnbench.fleet.planned import PlannedGroup
from attnbench.reading import MisreadError
from attnbench.record import Record, Status
from attnbench.runs.job import Settings
from attnbench.store import parts


class RowIndex:
    """What has its row by now, by cell."""

    def __init__(self, folder: Path, kinds: Mapping[str, HardwareKind]) -> None:
        self._folder, self._kinds = folder, kinds
        self._read: dict[Path, int] = {}
        self._rows: dict[str, list[Record]] = {}

    def refresh(self) -> None:
        """Read what was added. A line that is no record, or not at its end yet, is passed over: its cell has no row."""
        for part in parts.of(self._folder):
            path = part / parts.RECORDS
            begun = self._read.get(path, 0)
            try:
                with path.open("rb") as file:
                    file.seek(begun)
                    whole, newline, _ = file.read().rpartition(b"\n")
            except OSError:
                continue
            self._read[path] = begun + len(whole) + len(newline)
            for line in filter(None, whole.split(b"\n")):
                try:
                    record = Record.from_json(line.decode("utf-8", "replace"))
                except MisreadError:
                    continue
                self._rows.setdefault(record.cell.key, []).append(record)

    def of(self, group: PlannedGroup, settings: Settings) -> list[Record]:
        """Return the rows of a group that stand: of each cell one that ended ok before one that did not."""
        found = []
        for cell in group.cells:
            rows = [
                each
                for each in self._rows.get(cell.key, ())
                if settings.accept(each) and counts_for(each, group.needs.kind, self._kinds)
            ]
            found += sorted(rows, key=lambda each: each.status is not Status.OK)[:1]
        return found

    def is_done(self, group: PlannedGroup, settings: Settings) -> bool:
        """Return whether every cell of a group has its row."""
        return len(self.of(group, settings)) == len(group.cells)
