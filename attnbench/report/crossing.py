"""Where a curve through gaps, each with an interval, passes zero: the geometry of crossovers. Knows no frame.

Between neighbouring resolutions a gap is taken to be linear in the logarithm of the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise


class CrossingKind(StrEnum):
    """What the ends of a crossing are."""

    BRACKET = "bracket"
    """The measured resolutions on either side: the values are exact, or have no interval."""
    INTERVAL = "interval"
    """What the 95 % intervals of the values leave open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A place where the lead changes, or may change."""

    resolution: float | None
    """Where the interpolated curves meet; None if only their intervals do."""
    low: float | None
    """None if nothing measured below is decided: then the crossing may lie there, or not be."""
    high: float | None
    """None if nothing measured above is decided."""
    kind: CrossingKind
    below: int | None
    """The nearest measured resolution below at which it is decided who leads."""
    above: int | None
    leads_below: str
    leads_above: str

    @property
    def certain(self) -> bool:
        """Whether it is decided who leads on either side."""
        return self.below is not None and self.above is not None

    def spans(self, resolution: int) -> bool:
        """Return whether a resolution lies between those at which it is decided who leads."""
        return (self.below or 0) < resolution < (self.above or math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Logarithm of the ratio of two values at a resolution, with its interval; below 0 the first of the two leads."""

    side: int
    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """-1 where the first leads, 1 where the second does, 0 where it is undecided."""
        return (self.low > 0) - (self.high < 0)

    def mirrored(self) -> Gap:
        """Return the same with the two exchanged."""
        return Gap(side=self.side, value=-self.value, low=-self.high, high=-self.low)


def along(gaps: Sequence[Gap], *, kind: CrossingKind, first: str, second: str) -> tuple[Crossing, ...]:
    """Return the crossings of two mechanisms, by resolution.

    With intervals, an end at which it is undecided who leads holds a crossing that is not certain. Values without
    intervals are undecided only where they are equal, which is no crossing at an end.

    Args:
        gaps: The smallest resolution first.
        kind: What the ends of the crossings are to be.
        first: Who leads where the gap is below 0.
        second: Who leads where it is above.
    """
    decided = [place for place, gap in enumerate(gaps) if gap.sign]
    found = [gaps[one : other + 1] for one, other in pairwise(decided) if gaps[one].sign != gaps[other].sign]
    if decided and kind is CrossingKind.INTERVAL:
        found = [gaps[: decided[0] + 1], *found, gaps[decided[-1] :]]
    return tuple(_crossing(each, kind, {-1: first, 1: second}) for each in found if len(each) > 1)


def _crossing(stretch: Sequence[Gap], kind: CrossingKind, names: Mapping[int, str]) -> Crossing:
    """Return the crossing within resolutions of which the first, the last or both are decided and none between."""
    below, above = stretch[0].sign, stretch[-1].sign
    turn = below or -above
    rising = [gap if turn < 0 else gap.mirrored() for gap in stretch]
    meets = _zeros((gap.side, gap.value) for gap in rising)
    low = min(_zeros((gap.side, gap.high) for gap in rising)) if below else None
    high = max(_zeros((gap.side, gap.low) for gap in rising)) if above else None
    exact = kind is CrossingKind.BRACKET
    return Crossing(
        resolution=meets[len(meets) // 2] if meets else None,
        low=stretch[0].side if exact else low,
        high=stretch[-1].side if exact else high,
        kind=kind,
        below=stretch[0].side if below else None,
        above=stretch[-1].side if above else None,
        leads_below=names[turn],
        leads_above=names[-turn],
    )


def _zeros(points: Iterable[tuple[int, float]]) -> list[float]:
    """Return at which sides a line through points, straight over the side's logarithm, is zero."""
    given = list(points)
    found = [float(side) for side, height in given if height == 0]
    for (side, height), (next_side, next_height) in pairwise(given):
        if height * next_height < 0:
            found.append(side * (next_side / side) ** (height / (height - next_height)))
    return sorted(found)
