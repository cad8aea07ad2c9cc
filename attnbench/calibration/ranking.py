"""How alike two rankings of the same networks are: rank correlations, with intervals by bootstrap. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
Correlation = Callable[[Sequence[float], Sequence[float]], float]


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
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    ends = found.confidence_interval
    return RankCorrelation(value=correlation(scores, published), low=float(ends.low), high=float(ends.high))


def _spearman(scores: Sequence[float], published: Sequence[float]) -> float:
    from scipy.stats import spearmanr  # noqa: PLC0415

    return _or_zero(lambda: spearmanr(scores, published).statistic, scores, published)


def _kendall(scores: Sequence[float], published: Sequence[float]) -> float:
    from scipy.stats import kendalltau  # noqa: PLC0415

    return _or_zero(lambda: kendalltau(scores, published).statistic, scores, published)


def _or_zero(found: Callable[[], float], *rankings: Sequence[float]) -> float:
    if any(len(set(each)) == 1 for each in rankings):
        return 0.0
    value = float(found())
    return value if math.isfinite(value) else 0.0
