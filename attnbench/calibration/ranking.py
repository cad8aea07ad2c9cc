"""How alike two rankings of the same networks are: rank correlations, with intervals by bootstrap. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
Correlation = Callable[..., NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """A rank correlation with its 95 % interval, percentiles of a bootstrap over networks."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a score ranks networks beside how they are published to rank."""

    networks: int
    spearman: RankCorrelation
    kendall: RankCorrelation
    """Tau-b."""
    in_order: int
    """Pairs of networks of one family that the score puts in the published order."""
    pairs: int
    """Pairs of networks of one family."""

    @property
    def ranks(self) -> bool:
        """Whether the score ranks networks: the interval of Spearman's correlation lies above zero."""
        return self.spearman.low > 0


def compare(scores: Sequence[float], published: Sequence[float], families: Sequence[str], *, seed: int = 0) -> Ranking:
    """Return how a score ranks networks.

    A ranking in which all are equal correlates with nothing: its correlation is taken for 0.

    Args:
        scores: one for each network.
        published: the same networks' published accuracy.
        families: what each belongs to.
        seed: of the bootstrap.

    Raises:
        ValueError: fewer than three networks.

    Example:
        >>> found = compare([0.1, 0.2, 0.3, 0.4], [70.0, 75.0, 77.0, 80.0], ["a", "a", "b", "b"])
        >>> found.spearman.value, found.kendall.value, found.in_order, found.pairs
        (1.0, 1.0, 2, 2)
    """
    if len(scores) < 3:
        raise ValueError(f"{len(scores)} networks make no ranking; three and more do")
    together = [
        (scores[one] - scores[other]) * (published[one] - published[other])
        for one in range(len(scores))
        for other in range(one)
        if families[one] == families[other]
    ]
    return Ranking(
        networks=len(scores),
        spearman=_with_interval(_spearman, scores, published, seed),
        kendall=_with_interval(_kendall, scores, published, seed),
        in_order=sum(product > 0 for product in together),
        pairs=len(together),
    )


def _with_interval(
    correlation: Correlation, scores: Sequence[float], published: Sequence[float], seed: int
) -> RankCorrelation:
    from scipy.stats import bootstrap  # noqa: PLC0415 - a second to import

    found = bootstrap(
        (np.asarray(scores), np.asarray(published)),
        correlation,
        paired=True,
        vectorized=True,
        axis=-1,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    ends = found.confidence_interval
    value = float(correlation(np.asarray(scores), np.asarray(published), axis=-1))
    return RankCorrelation(value=value, low=float(ends.low), high=float(ends.high))


def _spearman(scores: NDArray[np.float64], published: NDArray[np.float64], *, axis: int) -> NDArray[np.float64]:
    """Return the correlation of ranks, for many resamples at once: scipy's own takes a millisecond for each."""
    from scipy.stats import rankdata  # noqa: PLC0415

    ranks = (rankdata(each, axis=axis) for each in (scores, published))
    one, other = (each - each.mean(axis=axis, keepdims=True) for each in ranks)
    return _normed((one * other).sum(axis=axis), (one * one).sum(axis=axis), (other * other).sum(axis=axis))


def _kendall(scores: NDArray[np.float64], published: NDArray[np.float64], *, axis: int) -> NDArray[np.float64]:
    """Return tau-b, likewise."""
    assert axis == -1
    one, other = (np.sign(each[..., :, None] - each[..., None, :]) for each in (scores, published))
    both = (axis - 1, axis)
    return _normed((one * other).sum(axis=both), (one * one).sum(axis=both), (other * other).sum(axis=both))


def _normed(product: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a correlation, 0 where a ranking has all alike."""
    norm = np.sqrt(one * other)
    return np.where(norm > 0, product / np.where(norm > 0, norm, 1.0), 0.0)
