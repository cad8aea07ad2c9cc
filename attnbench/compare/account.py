"""How far a comparison of two revisions is, line by line: its cells take a minute each, and a log has no bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from attnbench.cli.progress import described
from attnbench.record import Cell, Record, Status

Say = Callable[[str], object]
_START_UP_S = 15
"""What a start of both processes took besides their timed calls: 12 to 15 s on two cores with other work."""


@dataclass(slots=True, kw_only=True)
class Account:
    """Counts the starts that are done, and says what they leave to be done."""

    cells: Sequence[Cell]
    starts: int
    """Of each cell."""
    say: Say
    """Given each line."""
    clock: Callable[[], float] = time.monotonic
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock()

    def begin(self, revision: str, *, max_time_s: float) -> None:
        """Say what is to be done, and how long it may take."""
        count, timed_s = len(self.cells), 2 * max_time_s
        in_all = _minutes(count * (self.starts * _START_UP_S + timed_s))
        self.say(
            f"{revision} against the working tree: {count} {'cell' if count == 1 else 'cells'}, {self.starts} starts "
            f"of both for each, with at most {timed_s:g} s of timed calls; this may take {in_all}"
        )

    def started(self, cell: Cell, start: int) -> None:
        """Say that a start of a cell has been timed, counted from 0."""
        place = self._place(cell)
        done = place * self.starts + start + 1
        spent_s = self.clock() - self._began_s
        left_s = spent_s / done * (len(self.cells) * self.starts - done)
        self.say(
            f"{self._name(cell)}: start {start + 1} of {self.starts} timed, "
            f"{_minutes(spent_s)} so far, about {_minutes(left_s)} left"
        )

    def ended(self, cell: Cell, base: Record, head: Record) -> None:
        """Say how a cell ended: ok, or why not."""
        broken = [
            f"{side} {record.status.value}: {record.reason}"
            for side, record in (("base", base), ("head", head))
            if record.status is not Status.OK
        ]
        self.say(f"{self._name(cell)}: {'; '.join(broken) or 'ok'}")

    def _place(self, cell: Cell) -> int:
        return [one.key for one in self.cells].index(cell.key)

    def _name(self, cell: Cell) -> str:
        return f"[{self._place(cell) + 1}/{len(self.cells)}] {described(self.cells)[cell.key]}"


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{round(whole / 60)} min"
