"""How long somebody waits, by what they could see of the time: what stops them stops what they wait for as well."""

from __future__ import annotations

import time
from collections.abc import Callable

_PARTS = 20
"""A stop is noticed to within this part of the whole wait."""
_SHORTEST_S = 0.05


class Patience:
    """A wait of some seconds that is not used up while this process is stopped.

    A scheduler that suspends a job, or ``fg`` after Ctrl-Z, stops parent and child alike, and the clock runs on. So a
    wait goes in parts, and each costs no more than it was to last, however late it came back.

    Example:
        >>> patience = Patience(30)
        >>> patience.wait(lambda seconds: True)
        True
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._left_s, self._clock = seconds, clock
        self._part_s = max(seconds / _PARTS, _SHORTEST_S)

    def wait(self, listen: Callable[[float], bool]) -> bool:
        """Listen until something comes; return whether it came in time.

        Args:
            listen: waits for some seconds at most, and returns whether something came.
        """
        while True:
            part_s, started = max(0.0, min(self._left_s, self._part_s)), self._clock()
            came = listen(part_s)
            self._left_s -= min(part_s, self._clock() - started)
            if came or self._left_s <= 0:
                return came
