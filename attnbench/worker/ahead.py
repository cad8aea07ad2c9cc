"""Counting and estimating cells beside the worker, while it runs those before them: nothing is timed yet.

A job of built-ins and networks alone has a copy of its worker's process do so on another core. What the copy cannot
tell, for whichever reason, the worker finds out by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from attnbench import devices
from attnbench.devices import attention
from attnbench.devices.machine import whole_cores
from attnbench.models import subject
from attnbench.probes import memory_estimate
from attnbench.probes.memory_estimate import MemoryEstimate, NoEstimateError
from attnbench.record import Cell, Task
from attnbench.runs.job import Assignment
from attnbench.worker.counts import count
from attnbench.worker.ready import Metrics

_PATIENCE_S = 20.0
"""How long the worker waits for what the copy is at work on."""


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
    cells = [(place, each.cell) for place, each in list(assignments.items())[1:] if _is_to_be_counted(each)]
    if not cells or not _has_room_for_a_copy(assignments.values()):
        yield lambda _: None
        return
    here, there = multiprocessing.Pipe(duplex=False)
    copy = multiprocessing.get_context("fork").Process(target=_look, args=(cells, there), daemon=True)
    copy.start()
    there.close()
    try:
        yield _Answers(places=[place for place, _ in cells], come=here).ask
    finally:
        copy.kill()
        copy.join()
        here.close()


def _is_to_be_counted(assignment: Assignment) -> bool:
    return assignment.cell.task is Task.COST and "counting" not in assignment.phases_done


def _has_room_for_a_copy(assignments: Iterable[Assignment]) -> bool:
    """Return whether there is a core for it, and nothing in the job that a copy of the process would disturb."""
    alone = all(not each.foreign and devices.of(each.cell.device).in_main_memory for each in assignments)
    return alone and whole_cores() > 1 and sys.platform == "linux"


@dataclass(slots=True, kw_only=True)
class _Answers:
    """What the copy has said so far."""

    places: Sequence[int]
    come: Connection
    found: dict[int, Foreseen | None] = field(default_factory=dict)

    def ask(self, place: int) -> Foreseen | None:
        if place not in self.places:
            return None
        with contextlib.suppress(EOFError, OSError):  # it has ended: what it has not said is not known
            while place not in self.found and self.come.poll(_PATIENCE_S):
                answered, answer = self.come.recv()
                self.found[answered] = answer
        return self.found.pop(place, None)


def _look(cells: Sequence[tuple[int, Cell]], say: Connection) -> None:
    """Look at cells one by one, and say of each what was found or that nothing was."""
    for place, cell in cells:
        found = None
        with contextlib.suppress(Exception):  # the worker meets it again, and says so
            found = _foresee(cell)
        say.send((place, found))


def _foresee(cell: Cell) -> Foreseen | None:
    with attention.allowed(cell.sdpa):
        asked = subject.of(cell)
        return None if asked.why_unsupported() else Foreseen(counts=count(asked), estimate=_estimated(asked))


def _estimated(asked: subject.Subject) -> MemoryEstimate | None:
    try:
        return memory_estimate.estimate(asked.on_meta, mode=asked.cell.mode, device=asked.cell.device)
    except NoEstimateError:
        return None
