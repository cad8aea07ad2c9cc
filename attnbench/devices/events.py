"""Time on a device by a pair of its own events, and whether they are to be believed.

Events have run backwards, stood still and hung (pytorch issue 196395), so that they are held against the host's clock
before anything is timed by them. Where they do not agree with it, the host's clock is used until the device has
finished, and the row says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from attnbench.devices.clock import EVENTS, Call, Elapsed, Timer

_LEAST_NS = 5_000_000
"""Length of the work by which clocks are compared: launching and waiting take a small part of it."""
_MOST_CALLS = 2**14
_TRIES = 5
_SHARE, _SLACK_NS = 0.1, 500_000
"""How far apart the two clocks may be, of the host's time, and in any case."""


class EventTimer:
    """Times work on a device by a pair of events on its current stream.

    Every sample starts on an idle device. What is waited for is the device, never an event, which may not come.

    Args:
        event: Makes an event that keeps time.
        wait: Returns when all work that calls have begun is done.
        clock: The host's clock, in nanoseconds.
    """

    shortest_ns = 50_000
    clock = EVENTS

    def __init__(
        self, event: Callable[[], Any], wait: Callable[[], object], clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self.now_ns = clock
        self._event = event
        self._wait = wait

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row and return the device's time between the events."""
        self._wait()
        start, end = self._event(), self._event()
        start.record()
        host_start = self.now_ns()
        for _ in range(repeats):
            call()
        host_end = self.now_ns()
        end.record()
        self._wait()
        return Elapsed(ns=round(start.elapsed_time(end) * 1e6), host_ns=host_end - host_start)


def doubt(events: Timer, host: Timer, work: Call) -> str:
    """Return why events are not to be believed, empty if they agree with the host's clock.

    The shortest of a few samples each are compared, of some work that takes milliseconds: what else the machine does
    makes samples longer, by either clock.

    Args:
        events: times by events.
        host: times by the host's clock, the wait for the device included.
        work: what is timed; it is repeated until it takes long enough.
    """
    repeats = 1
    while host.sample(work, repeats).ns < _LEAST_NS and repeats < _MOST_CALLS:
        repeats *= 2
    try:
        # In turn, so that what else the machine does meets both alike.
        both = [(events.sample(work, repeats).ns, host.sample(work, repeats).ns) for _ in range(_TRIES)]
    except (OverflowError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        return f"it has no events: {' '.join(str(error).split())[:120] or type(error).__name__}"
    shortest, by_host = map(min, zip(*both, strict=True))
    if shortest <= 0:
        return f"its events say {shortest / 1e6:g} ms of what takes {by_host / 1e6:.3g} ms by the host's clock"
    if not math.isclose(shortest, by_host, rel_tol=_SHARE, abs_tol=_SLACK_NS):
        return f"its events say {shortest / 1e6:.3g} ms where the host's clock says {by_host / 1e6:.3g} ms"
    return ""
