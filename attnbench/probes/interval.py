"""The median or the mean of a run of samples with its 95 % interval. Imports nothing of ours, never torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

Series = Float64[ndarray, " samples"]

_Z95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""

FEWEST_SAMPLES = 6
"""Fewer independent samples than this have no 95 % interval of the median: 1 - 2 / 2**5 is 93.75 %."""

_SUPPOSED_LIKENESS = 1.7
"""Variance inflation that is supposed before the samples can tell: neighbours correlated by about 0.3."""
_WEIGHT = 20
"""Samples' worth of belief in it. With 6 samples it is most of what is known, with 200 a tenth."""
_MOST_LIKENESS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A median or mean and its 95 % interval, in the unit of the samples."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval, as a fraction of the value."""
        return (self.high - self.low) / 2 / self.value


def mean_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of independent values with its 95 % interval by Student's t.

    Args:
        values: at least two.
    """
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = student(len(values) - 1) * error
    return Estimate(value=mean, low=mean - reach, high=mean + reach)


def student(freedom: int) -> float:
    """Return how many standard errors a 95 % interval reaches to either side, by Student's t.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - half a second, for few

    return float(stdtrit(freedom, 0.975))


def median_estimate(samples: Series) -> Estimate:
    """Return the median of samples in the order they were taken, with its 95 % interval.

    The interval starts from two order statistics, n / 2 -+ 0.98 sqrt(n) places from the ends, which holds for any
    distribution: the count of samples below the true median is binomial. A percentile bootstrap of the median
    approximates the same interval at a thousand times the cost and is too narrow under about 20 samples.

    Samples near each other are alike when the machine drifts, and then n samples say less than n independent ones.
    Each end is moved out, as a factor of the median, by the square root of the variance inflation ``_likeness``.

    Coverage in 1,500 simulated repeats, of 6 to 300 samples, and where sampling stopped as soon as the interval was
    within 1 % (noise of 0.4 to 4 %, 300 samples at most); independent samples are normal or Student's t with 2 degrees
    of freedom, the others autoregressive; slow is white noise with half as much that lasts for 20 samples:

    ===================== ============ ============ ==========================================
    samples               fixed number early stop   early stop if only lag 1 widens, as before
    ===================== ============ ============ ==========================================
    independent           95.8-98.3 %  94.5-98.3 %  93.7-96.7 %
    correlation 0.2       94.6-96.3 %  93.1-96.3 %  91.0-93.6 %
    correlation 0.4       92.5-93.9 %  87.2-92.9 %  85.9-90.1 %
    correlation 0.7       77.8-92.5 %  72.1-87.4 %  67.5-83.1 %
    slow                  68.4-86.5 %  61.1-86.5 %  47.5-80.5 %
    ===================== ============ ============ ==========================================

    It costs up to a quarter more samples where the precision depends on their number, and none where the fewest
    are enough or time is up. Ratios within interleaved rounds have been found correlated by 0.1 at most.

    Args:
        samples: At least one, all positive; fewer than FEWEST_SAMPLES cover less than 95 %.
    """
    n = len(samples)
    ordered = np.sort(samples)
    rank = max(0.0, (n - 1) / 2 - _Z95 / 2 * math.sqrt(n))
    low, value, high = np.interp([rank, (n - 1) / 2, n - 1 - rank], np.arange(n), ordered).tolist()
    factor = math.sqrt(_likeness(samples))
    return Estimate(value=value, low=value * (low / value) ** factor, high=value * (high / value) ** factor)


def outliers(samples: Series) -> Bool[ndarray, " samples"]:
    """Return which samples lie far from the rest: a flag for the reader, nothing is left out because of it.

    Far is more than 5 standard deviations from the median, the deviation being estimated robustly as 1.4826 times
    the median absolute one and taken as no less than 0.1 % of the median, so that a clock's steps are not flagged.
    """
    median = np.median(samples)
    distance = np.abs(samples - median)
    far: Bool[ndarray, " samples"] = distance > 5 * max(1.4826 * np.median(distance), 0.001 * median)
    return far


def _likeness(samples: Series) -> float:
    """Return by how much likeness of near samples inflates the variance of their median, at least 1.

    One plus twice the sum of the autocorrelations of the samples' signs about the median, over pairs of lags until a
    pair's sum is no longer positive (Geyer 1992, the initial positive sequence). It is drawn towards a supposed value,
    because sampling that stops as soon as the interval is narrow would pick the moments at which few samples happen to
    look independent.
    """
    n = len(samples)
    signs = np.sign(samples - np.median(samples))
    spectrum = np.abs(np.fft.rfft(signs, 2 * n)) ** 2
    products = np.fft.irfft(spectrum)[: n // 3 + 2]
    if n < FEWEST_SAMPLES or products[0] == 0:
        return 1.0
    # Signs about the sample's own median are anticorrelated by 1 / n even where the samples are independent.
    correlations = products[1:] / products[0] + 1 / n
    pairs = correlations[: len(correlations) // 2 * 2].reshape(-1, 2).sum(axis=1)
    found = 1 + 2 * float(pairs[: int(np.argmin(np.append(pairs, 0.0) > 0))].sum())
    return min((n * found + _WEIGHT * _SUPPOSED_LIKENESS) / (n + _WEIGHT), _MOST_LIKENESS)
