"""Verifying the last cells of a job in a copy of the referee's process, while that verifies the first.

Nothing is timed by then, so that a second core may be used; results do not depend on it. What the copy does not tell,
for whichever reason, the referee finds out by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from attnbench import devices
from attnbench.child import copied
from attnbench.devices import machine
from attnbench.runs.job import Assignment
from attnbench.worker.verification import Verification

Ask = Callable[[int], Verification | None]
"""Gives what verifying a cell came to by its place; None for one that the referee is to verify itself."""
_PATIENCE_S = 60.0
"""How long is waited for a cell that the copy is at work on."""
_BUILDING_S = 0.3
"""What a cell takes besides its calls."""
_CALLS, _EXACT_CALLS = 1.5, 4.0
"""How many of its calls verifying a cell takes, and where its precision is looked at."""
_EXACT_COPIES = 4
"""Bytes of copies of a cell for each that it takes itself: of its own type, and of one that is twice as wide."""
_SHARE = 0.5
"""Of the memory that is free, what two cells at once may take."""


def first_half(costs: Sequence[float]) -> int:
    """Return how many of the first of some things one process is to take for two to be done with all the soonest.

    Example:
        >>> first_half([1.0, 0.5, 1.2])
        2
    """
    whole = sum(costs)
    return min(enumerate(accumulate(costs), 1), key=lambda taken: max(taken[1], whole - taken[1]))[0]


def of_the_copy(assignments: Sequence[Assignment], *, exacting: frozenset[int]) -> range:
    """Return the places of the cells that a copy of the process is to verify; none where it is to make none.

    Args:
        assignments: cells that were timed.
        exacting: places of those whose precision is looked at whatever that costs.
    """
    costs = [_cost_s(each, exact=place in exacting) for place, each in enumerate(assignments)]
    own = first_half(costs) if _can_be_shared(assignments) else len(assignments)
    return range(own, len(assignments))


@contextlib.contextmanager
def verified(places: range, verify: Callable[[int], Verification]) -> Iterator[Ask]:
    """Have cells verified by a copy of this process, which ends when the block is left.

    To be entered before the process has started a thread.

    Args:
        places: of the cells.
        verify: verifies the one of a place.
    """
    if not places:
        yield lambda _: None
        return
    with copied.looking(places, verify, patience_s=_PATIENCE_S) as answers:
        yield lambda place: answers.of(places.index(place)) if place in places else None


def _can_be_shared(assignments: Sequence[Assignment]) -> bool:
    """Return whether there are core and memory for a copy, and nothing in the job that would disturb it."""
    alone = all(not each.foreign and devices.of(each.cell.device).in_main_memory for each in assignments)
    if not alone or machine.whole_cores() < 2 or not copied.can_be_made():
        return False
    taken, free = [_bytes(each) for each in assignments], machine.available_memory_bytes()
    if free is None or None in taken:
        return False
    return 2 * _EXACT_COPIES * max(each for each in taken if each is not None) < _SHARE * free


def _cost_s(assignment: Assignment, *, exact: bool) -> float:
    call_s = float(assignment.timed.get("latency_median_s") or 0) * (assignment.cell.depth or 1)
    return _BUILDING_S + (_EXACT_CALLS if exact else _CALLS) * call_s


def _bytes(assignment: Assignment) -> int | None:
    """Return what a cell's weights and calls take; None where that was not measured."""
    params, peak = (assignment.known.get(name) for name in ("params", "memory_peak_bytes"))
    return 4 * params + peak if isinstance(params, int) and isinstance(peak, int) else None
