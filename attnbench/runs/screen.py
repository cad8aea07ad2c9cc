"""What a person sees while a sweep runs. Redraws on events only: a screen that refreshes itself disturbs the timing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from attnbench import inert
from attnbench.plan.described import describe, described, place
from attnbench.record import Cell, Record, Status, Task
from attnbench.runs.job import Settings
from attnbench.runs.notebook import line_of
from attnbench.runs.progress import Progress
from attnbench.runs.time_left import TimeLeft

_WEIGHTS = {"timing": 0.8}
"""Share of a cell's work that a phase is guessed to be, for the bar; the phases before it share the rest."""
_LINES = {
    "counting": "counting",
    "compiling": "compiling",
    "measuring memory": "measuring the memory of",
    "warming up": "warming up",
    "timing": "timing",
    "verifying": "verifying",
    "training": "training",
    "evaluating": "evaluating",
}
"""Phases that have a line of their own where there is no bar; the others take no time to speak of."""
_TIMED = ("warming up", "timing")
_MOST_NAMES = 8
"""Cells of a group that are named."""
_SOON_S = 1.0
"""Time left that is not said."""
_LINE_EVERY_S = 30.0
"""How often a phase that lasts is told where there is no bar."""


@contextmanager
def loading(console: Console) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being loaded, as it is told; what hangs is on the screen until its deadline."""
    with console.status("loading") as status:
        yield lambda name: status.update(Text(inert.line(f"loading {name}")))


class Screen:
    """What is at work, and the time left: a bar on a terminal, one line in a notebook, elsewhere a line a phase."""

    def __init__(self, console: Console, cells: Sequence[Cell], *, settings: Settings) -> None:
        self._console = console
        self._settings = settings
        self._left = {cell.key: cell for cell in cells}
        self._words = described(cells)
        self._total = len(self._left)
        self._started = time.monotonic()
        self._now: Progress | None = None
        self._time = TimeLeft(cells, timing_s=settings.max_time_s, now_s=self._started)
        self._told_at = self._started
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._line = line_of(console) if cells else None

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        elif self._line is None and self._total > 1:
            self._print(f"{self._total} cells; those that are timed in turn with each other end together")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def watch(self, progress: Progress) -> None:
        """Show what is going on."""
        entered = self._now is None or (self._now.phase, self._now.cells) != (progress.phase, progress.cells)
        self._now = progress
        self._time.watch(progress, time.monotonic())
        if self._console.is_terminal or self._line is not None:
            self._redraw()
        elif entered or time.monotonic() - self._told_at >= _LINE_EVERY_S:
            self._tell(progress)

    def show(self, record: Record) -> None:
        """Show that a cell has ended."""
        self._left.pop(record.cell.key, None)
        self._time.end(record.cell, time.monotonic())
        outcome = ": ".join(filter(None, (self._of(record.cell), record.status.value, record.reason)))
        if not self._console.is_terminal and self._line is None:
            self._print(f"[{self._total - len(self._left)}/{self._total}] {outcome}")
        elif record.status is not Status.OK:
            self._print(outcome)
        self._redraw()

    def _tell(self, now: Progress) -> None:
        """Print what begins, or goes on for long, and about how much time is left."""
        words = _LINES.get(now.phase)
        if words is None or now.cells[0].task is Task.COUNTS:
            return
        done, budget_s = "", ""
        if now.phase == "timing":
            budget_s = f", {_clock(self._settings.max_time_s * len(now.cells))} unless the fewest calls take longer"
        if now.fraction is not None:
            done, budget_s = f", {now.fraction:.0%}", ""
        self._print(f"{words} {self._whose(now)}{done}{budget_s}; {self._time_left()}")

    def _print(self, line: str) -> None:
        self._told_at = time.monotonic()
        self._console.print(Text(line), soft_wrap=True)

    def _redraw(self) -> None:
        cells = f"{self._total - len(self._left)} of {self._total} cells"
        if self._line is not None:
            now = f"; {self._describe_now()}" if self._left else ""
            self._line.show(inert.line(f"{cells}{now}; {self._time_left()}"))
        if not self._console.is_terminal:
            return
        done = self._fraction_done()
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=1.0, completed=done, width=24),
            Text(inert.line(self._describe_now()), overflow="ellipsis"),
        )
        row.add_row(Text(cells), Text(self._time_left()))
        self._live.update(row, refresh=True)

    def _fraction_done(self) -> float:
        done = float(self._total - len(self._left))
        if self._now is not None and self._now.phase in _TIMED:
            timed = self._at_work()
            timing = _WEIGHTS["timing"]
            done += len(timed) * (1 - timing + timing * (self._now.fraction or 0.0))
        elif self._now is not None and self._now.fraction is not None:
            done += self._now.fraction
        return done / max(self._total, 1)

    def _of(self, cell: Cell) -> str:
        return self._words.get(cell.key, describe(cell))

    def _describe_now(self) -> str:
        if self._now is None:
            return "starting"
        return f"{self._now.phase} {self._whose(self._now)}"

    def _whose(self, now: Progress) -> str:
        first, *others = now.cells
        if not others:
            return self._of(first)
        more = f" and {len(now.cells) - _MOST_NAMES} more" if len(now.cells) > _MOST_NAMES else ""
        return f"{place(first)}: {', '.join(cell.label for cell in now.cells[:_MOST_NAMES])}{more}"

    def _at_work(self) -> list[Cell]:
        return [] if self._now is None else [cell for cell in self._now.cells if cell.key in self._left]

    def _time_left(self) -> str:
        now_s = time.monotonic()
        left_s = self._time.seconds(now_s)
        # What is as good as done by all that is known goes on all the same.
        left = "" if left_s is None or left_s < _SOON_S else f", about {_clock(left_s)} left"
        return f"{_clock(now_s - self._started)} so far{left}"


@contextmanager
def counted(console: Console, what: str, *, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar of ``total`` steps on a terminal, and yield what is to be called after each."""
    live = Live(console=console, auto_refresh=False, transient=True)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if console.is_terminal:
            row = Table.grid(padding=(0, 1))
            row.add_row(ProgressBar(total=total, completed=done, width=24), Text(f"{what}: {done} of {total}"))
            live.update(row, refresh=True)

    with live if console.is_terminal else nullcontext():
        yield advance


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
