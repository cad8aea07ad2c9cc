"""Which cells may run beside others at once, since nothing that is found of them depends on it. Imports no torch."""

from __future__ import annotations

from attnbench.accuracy.tasks.table import is_task
from attnbench.record import Cell, Task


def is_independent(cell: Cell) -> bool:
    """Return whether a cell is only counted, or learns a task on the CPU: neither is timed."""
    return cell.task is Task.COUNTS or (cell.task is Task.ACCURACY and cell.device == "cpu" and is_task(cell.dataset))
