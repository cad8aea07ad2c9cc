"""Which cells share a process, and groups that are run at once. Imports no torch."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from itertools import zip_longest

from attnbench.devices.machine import usable_cores
from attnbench.record import Cell, Record, Task
from attnbench.runs.at_once import at_once
from attnbench.runs.beside import is_independent
from attnbench.runs.group import Group
from attnbench.runs.progress import Progress

_MOST_AT_ONCE, _FEWEST_EACH = 4, 8
"""Workers at once, each of which may hold a network's weights, and cells to be counted that one is worth its start."""


def sharing(cells: Sequence[Cell]) -> Iterable[list[Cell]]:
    """Return the cells that share a worker: those that are timed in turn, and all that one device is only named for."""
    together: dict[object, list[Cell]] = {}
    for cell in cells:
        shared = (cell.task, cell.device, cell.threads) if is_independent(cell) else cell.group
        together.setdefault(shared, []).append(cell)
    return together.values()


def dealt(cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """Return independent cells in as many parts as run at once: one a core, none with a handful of counts."""
    counted = cells[0].task is Task.COUNTS
    worth = len(cells) // _FEWEST_EACH if counted else len(cells)
    cores = len(usable_cores()) // (1 if counted else cells[0].threads)
    parts = max(1, min(cores, _MOST_AT_ONCE, worth))
    return [cells[part::parts] for part in range(parts)]


def run_groups(groups: Sequence[Group]) -> Generator[Record | Progress, None, None]:
    """Run groups, at once if there are several, their records in the order that they would have if there were one."""

    def stop() -> None:
        for group in groups:
            group.stop()

    if len(groups) == 1:
        yield from groups[0].run()
        return
    rows = zip_longest(*(group.outcomes.open.assignments for group in groups))
    order = deque(one.cell.key for row in rows for one in row if one)
    come: dict[str, Record] = {}
    with contextlib.closing(at_once([group.run() for group in groups], stop=stop)) as happens:
        for each in happens:
            if isinstance(each, Progress):
                yield each
                continue
            come[each.cell.key] = each
            while order and order[0] in come:
                yield come.pop(order.popleft())
