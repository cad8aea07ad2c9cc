"""The median of a run of samples with its 95 % interval. Imports nothing of ours, never torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

Series = Float64[ndarray, " samples"]

_Z95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""

FEWEST_SAMPLES = 6
"""Fewer independent samples than this have no 95 % interval of the median: 1 - 2 / 2**5 is 93.75 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A median and its 95 % interval, in the unit of the samples."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval, as a fraction of the median."""
        return (self.high - self.low) / 2 / self.value


def median_estimate(samples: Series) -> Estimate:
    """Return the median of samples in the order they were taken, with its 95 % interval.

    The interval lies between two order statistics, n / 2 -+ 0.98 sqrt(n) places from the ends, which holds for any
    distribution: the count of samples below the true median is binomial. A percentile bootstrap of the median
    approximates the same interval at a thousand times the cost and is too narrow under about 20 samples.

    Neighbouring samples are alike when the machine drifts, and then n samples say less than n independent ones. The
    lag-1 autocorrelation r of the samples' signs about the median, where positive, widens the interval by
    sqrt((1 + r) / (1 - r)).

    Coverage in 2,000 simulated repeats: independent samples (normal, and with a tenth of them delayed), 6 to 200
    of them, 95.0-98.2 %; stopped as soon as the interval was narrow enough, 93.6-97.5 %; neighbours correlated by
    0.2, 94.0-95.5 %, stopped early 91.0-93.5 %; correlated by 0.4, 92-94 % from 8 samples on. A correlation of 0.7
    is too much for it: 77-90 %.

    Args:
        samples: At least one; fewer than FEWEST_SAMPLES get their full range, which covers less than 95 %.
    """
    n = len(samples)
    ordered = np.sort(samples)
    rank = max(0.0, (n - 1) / 2 - _Z95 / 2 * math.sqrt(n) * _widening(samples))
    low, value, high = np.interp([rank, (n - 1) / 2, n - 1 - rank], np.arange(n), ordered)
    return Estimate(value=float(value), low=float(low), high=float(high))


def outliers(samples: Series) -> Bool[ndarray, " samples"]:
    """Return which samples lie far from the rest: a flag for the reader, nothing is left out because of it.

    Far is more than 5 standard deviations from the median, the deviation being estimated robustly as 1.4826 times
    the median absolute one and taken as no less than 0.1 % of the median, so that a clock's steps are not flagged.
    """
    median = np.median(samples)
    distance = np.abs(samples - median)
    far: Bool[ndarray, " samples"] = distance > 5 * max(1.4826 * np.median(distance), 0.001 * median)
    return far


def _widening(samples: Series) -> float:
    """Return the factor by which likeness of neighbours widens the interval, 1 if there is none."""
    n = len(samples)
    signs = np.sign(samples - np.median(samples))
    power = float(signs @ signs)
    if n < FEWEST_SAMPLES or power == 0:
        return 1.0
    # Signs about the sample's own median are anticorrelated by 1 / n even where the samples are independent.
    r = float(signs[1:] @ signs[:-1]) / power + 1 / n
    r = min(max(r, 0.0), 0.9)
    return math.sqrt((1 + r) / (1 - r))
