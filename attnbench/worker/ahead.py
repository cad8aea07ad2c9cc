"""Counting and estimating cells beside the worker, while it runs those before them: nothing is timed yet.

A job of built-ins and networks alone has a copy of its worker's process do so on another core. What the copy cannot
tell, for whichever reason, the worker finds out by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from attnbench import devices
from attnbench.child import copied
from attnbench.devices import attention, casting
from attnbench.devices.machine import whole_cores
from attnbench.models import subject
from attnbench.probes import memory_estimate
from attnbench.probes.memory_estimate import MemoryEstimate, NoEstimateError
from attnbench.record import Cell, Task
from attnbench.runs.job import Assignment
from attnbench.worker.counts import count
from attnbench.worker.ready import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What is known of a cell before anything of it has run."""

    counts: Metrics
    estimate: MemoryEstimate | None
    """None where it cannot be estimated."""


Ask = Callable[[int], Foreseen | None]
"""Gives what is known of a cell by its place; None for one that the worker has to look at itself."""


@contextlib.contextmanager
def foreseen(assignments: Mapping[int, Assignment]) -> Iterator[Ask]:
    """Have all cells but the first looked at by a copy of this process, which ends when the block is left.

    To be entered before the process has started a thread, and left before anything is timed.

    Args:
        assignments: by place, in the order in which the worker takes them.
    """
    cells = {place: each.cell for place, each in list(assignments.items())[1:] if _is_to_be_counted(each)}
    if not cells or not _has_room_for_a_copy(assignments.values()):
        yield lambda _: None
        return
    turns = {place: turn for turn, place in enumerate(cells)}
    with copied.looking(list(cells.values()), _foresee) as answers:
        yield lambda place: answers.of(turns[place]) if place in turns else None


def _is_to_be_counted(assignment: Assignment) -> bool:
    return assignment.cell.task is Task.COST and "counting" not in assignment.phases_done


def _has_room_for_a_copy(assignments: Iterable[Assignment]) -> bool:
    """Return whether there is a core for it, and nothing in the job that a copy of the process would disturb."""
    alone = all(not each.foreign and devices.of(each.cell.device).in_main_memory for each in assignments)
    return alone and whole_cores() > 1 and copied.can_be_made()


def _foresee(cell: Cell) -> Foreseen | None:
    with attention.allowed(cell.sdpa):
        asked = subject.of(cell)
        return None if asked.why_unsupported() else Foreseen(counts=count(asked), estimate=_estimated(asked))


def _estimated(asked: subject.Subject) -> MemoryEstimate | None:
    try:
        with casting.entered(asked.cell):
            return memory_estimate.estimate(asked.on_meta, mode=asked.cell.mode, device=asked.cell.device)
    except NoEstimateError:
        return None
