"""A run's folder as it lies on disk, line by line: nothing is left out because it cannot be read, it is a finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from attnbench import files, store
from attnbench.errors import StoreError
from attnbench.plan.described import describe
from attnbench.reading import MisreadError, from_json
from attnbench.record import Record, Scope, Task
from attnbench.verify.finding import Place, Tally

TIMED = "latency_median_s"


@dataclass(frozen=True, kw_only=True)
class KeptLine:
    """A line of ``records.jsonl``."""

    number: int
    content: Mapping[str, Any]
    """As JSON has it, metrics by the names that they had when it was written."""
    record: Record

    @cached_property
    def place(self) -> Place:
        """Where it is, for people."""
        return Place(file=store.RECORDS, row=f"line {self.number} ({describe(self.record.cell)})")

    @property
    def format(self) -> int:
        """The version of its format."""
        return int(self.content["format"])

    @property
    def timed(self) -> bool:
        """Whether it has a latency."""
        return TIMED in self.record.metrics

    @property
    def layers(self) -> int:
        """By how many layers its figures are divided."""
        cell = self.record.cell
        return cell.depth if cell.scope is Scope.LAYER else 1

    @property
    def counted(self) -> bool:
        """Whether its parameters and multiply-adds were counted."""
        return self.record.cell.task is not Task.ACCURACY and self.record.metrics.get("params") is not None


@dataclass(frozen=True, kw_only=True)
class KeptRun:
    """All lines of a run, and the folder around them."""

    folder: Path
    lines: tuple[KeptLine, ...]

    @cached_property
    def latest(self) -> dict[str, KeptLine]:
        """The line that counts of each cell, by its key."""
        return {line.record.cell.key: line for line in self.lines}

    @cached_property
    def records(self) -> list[Record]:
        """The records that count, in the order in which cells first ended."""
        return [line.record for line in self.latest.values()]


def read(folder: Path, tally: Tally) -> KeptRun:
    """Return a run; what is no record is a finding.

    Raises:
        StoreError: there are no records.
    """
    try:
        text = files.text_of(folder / store.RECORDS, errors="replace")
    except MisreadError as error:
        raise StoreError(f"{error}; give the folder of a run") from None
    return KeptRun(folder=folder, lines=tuple(_lines(text, tally)))


def _lines(text: str, tally: Tally) -> Iterator[KeptLine]:
    for number, written in enumerate(text.splitlines(), start=1):
        try:
            yield KeptLine(number=number, content=from_json(written), record=Record.from_json(written))
        except ValueError as error:
            place = Place(file=store.RECORDS, row=f"line {number}")
            tally.wrong(place, "record", kept=written[:60], found=f"a line that can be read: {error}")
