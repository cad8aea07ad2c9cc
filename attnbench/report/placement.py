"""Room for ticks and labels, worked out in numbers. Imports no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence

FEWEST_TICKS = 3
MOST_TICKS = 7
_MANTISSAS = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
_STEPS = (1, 2, 2.5, 5, 10)


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis: at least three wherever the axis is not a mere point."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, math.ceil(len(decades) / MOST_TICKS))
    for mantissas in _MANTISSAS:
        found = [m * 10.0**e for e in decades[::every] for m in mantissas if low <= m * 10.0**e <= high]
        if FEWEST_TICKS <= len(found) <= MOST_TICKS:
            return found
    return linear_ticks(low, high)


def binary_ticks(low: float, high: float) -> list[float]:
    """Return powers of two for a logarithmic axis of memory, other round numbers if it spans too few of them."""
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    every = max(1, math.ceil(len(powers) / MOST_TICKS))
    return [2.0**power for power in powers[::every]] if len(powers) >= FEWEST_TICKS else log_ticks(low, high)


def linear_ticks(low: float, high: float) -> list[float]:
    """Return the multiples of a round step within the ends, about five."""
    if not low < high:
        return [low]
    rough = (high - low) / 5
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(decade * step for step in _STEPS if decade * step >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Return positions at least a gap apart and as near as can be to those wanted, by least squares, in their order.

    Args:
        wanted: Where things would best stand.
        gap: Least distance between two of them.
        low: The first may not stand below this.
        high: The last may not stand above this; what does not fit runs over at the top.
    """
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    # Without its gaps the problem is isotonic regression, which pooling neighbours out of order solves.
    pools: list[tuple[float, int]] = []
    for rank, place in enumerate(order):
        pools.append((wanted[place] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (second, many), (first, more) = pools.pop(), pools.pop()
            pools.append(((first * more + second * many) / (more + many), more + many))
    top = max(low, high - (len(wanted) - 1) * gap)
    level = [min(max(mean, low), top) for mean, count in pools for _ in range(count)]
    found = [0.0] * len(wanted)
    for rank, place in enumerate(order):
        found[place] = level[rank] + rank * gap
    return found
