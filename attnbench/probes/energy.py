"""The energy of a call, from a counter of the machine's. Its own pass, never the timed one.

Counters are renewed only so often (some 1 ms on processors, up to 100 ms on GPUs), so that calls are counted in windows
of many, and the pass is a long one. All that the counted part of the machine takes meanwhile is in the figure, what it
takes when idle and what others let it do included; the idle power is measured beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from attnbench.devices.clock import Call
from attnbench.devices.device import no_collection
from attnbench.devices.energy import EnergyCounter, NoCounterError
from attnbench.probes.interval import mean_interval

WINDOWS = 10
_IDLE_S = 1.0
_WARM_S = 0.5
_RESOLUTION_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnergy:
    """Energy of one call, in joules."""

    value_j: float
    """Mean over the windows, which have as many calls each."""
    low_j: float
    """Lower end of its 95 % interval (Student's t over the windows), not below 0."""
    high_j: float
    idle_w: float
    """Power that the same counter found before the first call, with nothing to do."""
    counter: str
    """Name of the counter."""


def measure(
    call: Call,
    *,
    counter: EnergyCounter,
    wait: Callable[[], object],
    at_least_s: float = 5.0,
    on_window: Callable[[int], object] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> CallEnergy:
    """Measure the energy of one call.

    Args:
        call: what is measured, back to back.
        counter: counts the part of the machine that does the work.
        wait: returns when all work that calls have begun is done.
        at_least_s: time for the windows together; each has one call at least.
        on_window: told the number of windows that are done.
        clock: seconds, monotonic.
        sleep: leaves the machine alone for so many seconds.

    Raises:
        NoCounterError: the counter stands still, or can no longer be read.
    """
    wait()
    idle_w = _power(counter, clock, lambda: sleep(_IDLE_S))
    calls = max(1, math.ceil(at_least_s / WINDOWS / _warm(call, wait, clock)))
    windows: list[float] = []
    with no_collection():
        before = counter.read_j()
        for done in range(1, WINDOWS + 1):
            for _ in range(calls):
                call()
            wait()
            now = counter.read_j()
            windows.append((now - before) / calls)
            before = now
            on_window(done)
    found = mean_interval(windows)
    if found.value <= 0:
        raise NoCounterError(f"{counter.name} stood still while calls ran")
    return CallEnergy(
        value_j=found.value, low_j=max(0.0, found.low), high_j=found.high, idle_w=idle_w, counter=counter.name
    )


def _power(counter: EnergyCounter, clock: Callable[[], float], rest: Callable[[], object]) -> float:
    started, before = clock(), counter.read_j()
    rest()
    return (counter.read_j() - before) / (clock() - started)


def _warm(call: Call, wait: Callable[[], object], clock: Callable[[], float]) -> float:
    """Run calls until clocks and power have had time to rise, and return the fewest seconds that one took."""
    started, fewest = clock(), math.inf
    while clock() - started < _WARM_S:
        before = clock()
        call()
        wait()
        fewest = min(fewest, clock() - before)
    return max(fewest, _RESOLUTION_S)
