"""What is going on in a run, for whoever watches it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnbench.record import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is going on, for whoever watches."""

    cells: tuple[Cell, ...]
    """The cell at work, or all of a group while they are timed in turn."""
    phase: str
    fraction: float | None = None
    """How much of the phase is done, where that is known."""


Watcher = Callable[[Progress], None]
