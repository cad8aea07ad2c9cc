"""Accuracy along the axis of a task, each seed's own, as numbers and as the text that a row keeps. Imports no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from attnbench.probes.interval import mean_interval

_NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The mean over seeds at one value of the axis, as fractions."""

    value: int
    mean: float
    low: float | None
    """Lower end of the mean's 95 % interval over seeds (Student's t), not below 0; None for a single seed."""
    high: float | None
    """Upper end, not above 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What each seed came to at each value of an axis.

    Example:
        >>> curve = Curve(seeds=2).with_share(4, 1, 0.75)
        >>> str(curve)
        '4: - 0.75'
        >>> Curve.read(str(curve)) == curve
        True
    """

    seeds: int
    shares: Mapping[int, tuple[float | None, ...]] = field(default_factory=dict)
    """By value, one for each seed in their order; None where there is none."""

    def with_share(self, value: int, seed: int, share: float) -> Curve:
        """Return the curve with what one more training or examination came to."""
        before = self.shares.get(value, (None,) * self.seeds)
        return replace(self, shares={**self.shares, value: (*before[:seed], share, *before[seed + 1 :])})

    def has(self, value: int, seed: int) -> bool:
        """Return whether it is known."""
        return self.shares.get(value, (None,) * self.seeds)[seed] is not None

    def of_seed(self, seed: int, values: Sequence[int]) -> float | None:
        """Return a seed's mean over some values, None where one of them is not known."""
        found = [self.shares.get(value, (None,) * self.seeds)[seed] for value in values]
        known = [share for share in found if share is not None]
        return statistics.fmean(known) if len(known) == len(values) else None

    def points(self) -> Iterator[CurvePoint]:
        """Yield the mean at each value that some seed has, in the order of values."""
        for value in sorted(self.shares):
            known = [share for share in self.shares[value] if share is not None]
            if known:
                yield CurvePoint(value=value, mean=statistics.fmean(known), **_ends(known))

    def holds_to(self, chance: float) -> int:
        """Return the largest value up to which the mean is nearer to 1 than to chance; 0 for none.

        A value at which it is not ends it, whatever comes after.
        """
        last = 0
        for point in self.points():
            if point.mean < (1 + chance) / 2:
                break
            last = point.value
        return last

    def __str__(self) -> str:
        lines = (
            f"{value}: {' '.join(_NONE if share is None else f'{share:.6g}' for share in self.shares[value])}"
            for value in sorted(self.shares)
        )
        return "; ".join(lines)

    @classmethod
    def read(cls, text: str) -> Curve:
        """Return the curve that a row keeps.

        Raises:
            ValueError: it is none.
        """
        shares: dict[int, tuple[float | None, ...]] = {}
        for part in filter(None, text.split("; ")):
            value, _, listed = part.partition(": ")
            shares[int(value)] = tuple(None if each == _NONE else _share(each) for each in listed.split())
        lengths = {len(each) for each in shares.values()}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError(f"not a curve with as many seeds at each value: {text!r}")
        return cls(seeds=lengths.pop() if lengths else 0, shares=shares)


def _share(text: str) -> float:
    share = float(text)
    if not (math.isfinite(share) and 0 <= share <= 1):
        raise ValueError(f"{text} is no fraction")
    return share


def _ends(known: Sequence[float]) -> dict[str, float | None]:
    if len(known) < 2:
        return {"low": None, "high": None}
    found = mean_interval(known)
    return {"low": max(0.0, found.low), "high": min(1.0, found.high)}
