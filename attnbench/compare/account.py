"""How far a comparison of two revisions is, line by line: its cells take a minute each, and a log has no bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from attnbench.plan.described import described
from attnbench.record import Cell, Record, Status
from attnbench.wording import number_of

Say = Callable[[str], object]
_START_UP_S = 15
"""What a cell takes besides its rounds, on two cores with other work: counts, memory and checks of two revisions."""


@dataclass(slots=True, kw_only=True)
class Account:
    """Counts the cells that are done, and says what they leave to be done."""

    cells: Sequence[Cell]
    say: Say
    """Given each line."""
    clock: Callable[[], float] = time.monotonic
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock()

    def begin(self, revision: str, *, max_time_s: float) -> None:
        """Say what is to be done, and how long it may take."""
        count, timed_s = len(self.cells), 2 * max_time_s
        in_all = _minutes(count * (_START_UP_S + timed_s))
        self.say(
            f"{revision} against the working tree: {number_of(count, 'cell')}, both revisions of each "
            f"in one process, with at most {timed_s:g} s of rounds; this may take {in_all}"
        )

    def apart(self, cell: Cell, why: str) -> None:
        """Say that a cell has a process for each revision, and why."""
        self.say(f"{self._name(cell)}: not in one process ({why}); in one each, started several times")

    def started(self, cell: Cell, count: int) -> None:
        """Say how many starts of a cell have been timed."""
        self.say(f"{self._name(cell)}: start {count} timed, {_minutes(self.clock() - self._began_s)} so far")

    def ended(self, cell: Cell, base: Record, head: Record) -> None:
        """Say how a cell ended: ok, or why not."""
        broken = [
            f"{side} {record.status.value}: {record.reason}"
            for side, record in (("base", base), ("head", head))
            if record.status is not Status.OK
        ]
        done, spent_s = self._place(cell) + 1, self.clock() - self._began_s
        left_s = spent_s / done * (len(self.cells) - done)
        left = f", about {_minutes(left_s)} left" if left_s else ""
        self.say(f"{self._name(cell)}: {'; '.join(broken) or 'ok'}; {_minutes(spent_s)} so far{left}")

    def _place(self, cell: Cell) -> int:
        return [one.key for one in self.cells].index(cell.key)

    def _name(self, cell: Cell) -> str:
        return f"[{self._place(cell) + 1}/{len(self.cells)}] {described(self.cells)[cell.key]}"


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{round(whole / 60)} min"
