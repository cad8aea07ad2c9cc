"""How long one sample takes by the host's clock. Knows nothing of what it times, and imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

Call = Callable[[], object]
EVENTS, HOST = "events of the device", "host's clock until the device has finished"
"""Whose clock a sample is by, where that is not the processor's own work."""


class Elapsed(NamedTuple):
    """Duration of one sample, all its calls together, in nanoseconds.

    Example:
        >>> Elapsed(ns=2_000, host_ns=1_500).ns
        2000
    """

    ns: int
    """By the clock of the device that does the work."""
    host_ns: int
    """Until the calls returned to Python; on a GPU, near ``ns`` or above it if launching is what takes the time."""


class Timer(Protocol):
    """Runs calls and says how long they took; ``now_ns`` is for budgets, not for samples."""

    shortest_ns: int
    """Samples shorter than this are too near the clock's own step and cost, and are made of several calls."""
    clock: str
    """Whose clock it goes by, and why if that is not the device's; empty where the work is the processor's own."""

    def now_ns(self) -> int:
        """Return the time on the host's clock."""

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row and return how long that took, once it is finished."""


class CpuTimer:
    """Times work that is finished when the call returns.

    Example:
        >>> ticks = iter((1_000, 1_700))
        >>> CpuTimer(clock=lambda: next(ticks)).sample(lambda: None, 1)
        Elapsed(ns=700, host_ns=700)
    """

    clock = ""
    shortest_ns = 50_000
    """A thousand times the cost of reading the clock (about 50 ns)."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.now_ns = clock

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row and return how long that took."""
        clock = self.now_ns
        if repeats == 1:
            start = clock()
            call()
            end = clock()
        else:
            start = clock()
            for _ in range(repeats):
                call()
            end = clock()
        return Elapsed(ns=end - start, host_ns=end - start)


class WaitingTimer:
    """Times work on a device that has no events to be trusted, by the host's clock, until the device has finished.

    Args:
        wait: Returns when all work that calls have begun is done.
        clock: The host's clock, in nanoseconds.
        because: Why the device's events are not used.

    Example:
        >>> ticks = iter((1_000, 1_200, 1_900))
        >>> WaitingTimer(wait=lambda: None, clock=lambda: next(ticks)).sample(lambda: None, 1)
        Elapsed(ns=900, host_ns=200)
    """

    shortest_ns = 50_000

    def __init__(
        self, wait: Callable[[], object], clock: Callable[[], int] = time.perf_counter_ns, *, because: str = ""
    ) -> None:
        self.now_ns = clock
        self.clock = f"{HOST}: {because}" if because else HOST
        self._wait = wait

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row on an idle device and return how long that took, the wait included."""
        self._wait()
        start = self.now_ns()
        for _ in range(repeats):
            call()
        returned = self.now_ns()
        self._wait()
        return Elapsed(ns=self.now_ns() - start, host_ns=returned - start)
