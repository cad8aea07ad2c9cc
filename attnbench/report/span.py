"""A value and its interval in few characters, none of which a reader can take for something that was not found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOPSIDED = 0.25
"""Share of the half-width by which the two ends may differ in their distance from the value, to be written as one."""
_COARSE = 0.1
"""Share of an interval that the last digit of its ends may stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A value and the ends of its interval, in the unit that they are printed in."""

    value: float
    low: float
    high: float

    def margin(self, decimals: int, limits: Sequence[float]) -> str:
        """Return the distance of the farther end, ``±0.3``; empty if that would mislead.

        It does where the other end is much nearer, and where what is read passes a limit that the interval does not.

        Args:
            decimals: Digits after the point.
            limits: Values on either side of which a reader understands different things.
        """
        below, above = self.value - self.low, self.high - self.value
        if abs(above - below) > LOPSIDED * (self.high - self.low) / 2:
            return ""
        margin = f"{max(below, above):.{decimals}f}"
        value = float(f"{self.value:.{decimals}f}")
        if not self._on_the_same_side(value - float(margin), value + float(margin), limits):
            return ""
        return f"±{margin}" if float(margin) else ""

    def fewest(self, decimals: int, limits: Sequence[float]) -> str:
        """Return both ends with the fewest digits that tell them from each other, from the value and from limits."""
        return self.ends(next((fewer for fewer in range(decimals) if self._tells(fewer, limits)), decimals))

    def ends(self, decimals: int) -> str:
        """Return both ends, ``[15.8, 16.3]``."""
        return f"[{self.low:.{decimals}f}, {self.high:.{decimals}f}]"

    def _tells(self, decimals: int, limits: Sequence[float]) -> bool:
        low, high = (float(f"{end:.{decimals}f}") for end in (self.low, self.high))
        return (
            10.0**-decimals <= _COARSE * (self.high - self.low)
            and low <= self.value <= high
            and self._on_the_same_side(low, high, limits)
        )

    def _on_the_same_side(self, low: float, high: float, limits: Sequence[float]) -> bool:
        """Return whether other ends lie beyond no limit that these do not reach."""
        return all((low > limit or self.low <= limit) and (high < limit or self.high >= limit) for limit in limits)
