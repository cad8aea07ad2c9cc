"""Numbers with the range that they may lie in: what every option that is a number is read by. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The numbers from a lowest, or above it, to a highest.

    Example:
        >>> seconds = Range(lowest=0, highest=60, unit="seconds", above=True)
        >>> seconds.words
        'a number of seconds above 0, at most 60'
        >>> seconds.holds(float("nan")), seconds.holds(-0.0), seconds.holds(60)
        (False, False, True)
    """

    lowest: float
    highest: float
    unit: str = ""
    """What it is a number of; empty for nothing."""
    above: bool = False
    """Whether the lowest is left out."""
    whole: bool = False

    @property
    def words(self) -> str:
        """What would do."""
        number = f"a {'whole ' if self.whole else ''}number{f' of {self.unit}' if self.unit else ''}"
        ends = "above {}, at most {}" if self.above else "from {} to {}"
        return f"{number} {ends.format(_said(self.lowest), _said(self.highest))}"

    def holds(self, value: float) -> bool:
        """Whether a number lies in it; none that is infinite or no number does."""
        if isinstance(value, float) and (not math.isfinite(value) or (self.whole and not value.is_integer())):
            return False
        return (self.lowest < value if self.above else self.lowest <= value) and value <= self.highest

    def __call__(self, text: str) -> int:
        """Read a whole number of it.

        Raises:
            ValueError: it is none.
        """
        # No more digits than the highest has: others are not even worked out.
        written = text.lstrip("0") or text[:1]
        digits = len(str(int(self.highest)))
        if not (text.isdecimal() and len(written) <= digits and self.holds(int(written))):
            raise ValueError(f"expected {self.words}")
        return int(written)


def whole(lowest: int, highest: int, unit: str = "") -> Range:
    """Return the whole numbers from a lowest to a highest.

    Example:
        >>> whole(1, 4)("3")
        3
    """
    return Range(lowest=lowest, highest=highest, unit=unit, whole=True)


def _said(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
