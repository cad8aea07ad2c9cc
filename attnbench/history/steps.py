"""Where a series changed for good: places by scikit-learn, how sure by SciPy.

A regression tree over time, whose leaves are stretches of one level, is binary segmentation by least squares. It
proposes places; each is then tested by ranks (Mann and Whitney) against its neighbours, and the least sure is taken
back until all are sure enough. A chance is multiplied by the number of places that a change could have been found at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from attnbench.probes.interval import Estimate

Levels = Float64[ndarray, " runs"]

FEWEST = 4
"""Runs on either side of a change: of fewer, no order of ranks is rare enough."""
SURE = 0.01
_MOST_STEPS = 24
_REACH = 3.0
"""Standard deviations beyond its neighbours' median that a value may lie in the search for places."""
_Z95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change of level."""

    place: int
    """Of the first value after it."""
    chance: float
    """How often at most a series without a change would show one as clear somewhere between its neighbours."""
    ratio: Estimate
    """After over before, with its 95 % interval."""


def steps(values: Sequence[float]) -> list[Step]:
    """Return where positive values in the order of time changed their level for good, the earliest first."""
    logs: Levels = np.log(np.asarray(values, dtype=float))
    places = _proposed(logs)
    while places:
        parts = np.split(logs, places)
        chances = [_chance(before, after) for before, after in pairwise(parts)]
        worst = int(np.argmax(chances))
        if chances[worst] <= SURE:
            return [
                Step(place=place, chance=chance, ratio=_shift(parts[number], parts[number + 1]))
                for number, (place, chance) in enumerate(zip(places, chances, strict=True))
            ]
        del places[worst]
    return []


def _proposed(logs: Levels) -> list[int]:
    if len(logs) < 2 * FEWEST:
        return []
    from scipy.ndimage import median_filter  # noqa: PLC0415
    from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415 - a second

    scatter = max(float(np.median(np.abs(np.diff(logs)))) / (0.6745 * math.sqrt(2)), 1e-9)
    near = median_filter(logs, size=5, mode="nearest")
    # A run that was disturbed alone would otherwise be the clearest of places.
    tamed = np.clip(logs, near - _REACH * scatter, near + _REACH * scatter)
    tree = DecisionTreeRegressor(min_samples_leaf=FEWEST, max_leaf_nodes=_MOST_STEPS + 1, random_state=0)
    order = np.arange(len(logs), dtype=float)[:, None]
    # The penalty of Schwarz's criterion for a place and a level: what a split has to explain at least.
    tree.set_params(ccp_alpha=2 * scatter**2 * math.log(len(logs)) / len(logs))
    levels = tree.fit(order, tamed).apply(order)
    return [int(place) + 1 for place in np.flatnonzero(np.diff(levels))]


def _chance(before: Levels, after: Levels) -> float:
    """Return the chance of two stretches being so far apart in rank though neither differs, over all places."""
    from scipy.stats import mannwhitneyu, norm  # noqa: PLC0415

    alone = float(mannwhitneyu(before, after).pvalue)
    # Runs after each other may be alike, as on a machine that drifts: so many say less than as many independent ones.
    distance = norm.isf(alone / 2) / math.sqrt(_likeness(before, after))
    places = len(before) + len(after) - 1
    return min(1.0, places * 2 * float(norm.sf(distance)))


def _likeness(before: Levels, after: Levels) -> float:
    """Return by how much likeness of neighbouring runs inflates variances, by its lag 1, robustly: of signs."""
    signs = [np.sign(part - np.median(part)) for part in (before, after)]
    pairs = sum(float(np.sum(part[1:] * part[:-1])) for part in signs)
    alike = math.sin(math.pi / 2 * min(max(pairs / (len(before) + len(after) - 2), 0.0), 0.95))
    return (1 + alike) / (1 - alike)


def _shift(before: Levels, after: Levels) -> Estimate:
    """Return the shift between two stretches as a ratio, with the interval of Hodges and Lehmann.

    The median of all differences, and the order statistics of them that the rank test would not tell from no shift;
    it holds for any distribution that the change moves as a whole.
    """
    differences = np.sort((after[:, None] - before[None, :]).ravel())
    count, sizes = len(differences), len(before) + len(after) + 1
    rank = max(0, math.floor(count / 2 - _Z95 * math.sqrt(count * sizes / 12)))
    low, value, high = differences[rank], np.median(differences), differences[count - 1 - rank]
    return Estimate(value=math.exp(value), low=math.exp(low), high=math.exp(high))
