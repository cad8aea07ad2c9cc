"""Exponents: how one quantity grows with another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnbench.probes.interval import Estimate, student

FEWEST_POINTS = 3


def exponent(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Return b of the least-squares line log y = a + b log x with its 95 % interval (Student's t).

    The interval says how far the points are from one power: it is wide where y is none of x.

    Raises:
        ValueError: fewer than 3 points, or one that is not positive.
    """
    if len(x) < FEWEST_POINTS or len(x) != len(y):
        raise ValueError(f"an exponent needs at least {FEWEST_POINTS} points, got {len(x)} and {len(y)}")
    if min(*x, *y) <= 0:
        raise ValueError("an exponent needs positive figures")
    from scipy import stats  # noqa: PLC0415 - a second and more

    line = stats.linregress(np.log(x), np.log(y))
    reach = student(len(x) - 2) * float(line.stderr)
    slope = float(line.slope)
    return Estimate(value=slope, low=slope - reach, high=slope + reach)
