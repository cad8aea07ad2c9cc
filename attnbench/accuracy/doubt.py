"""What speaks against an accuracy that was measured: that it is near chance, or that other numbers of classes fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from attnbench.accuracy.classes import NATURAL, TEXT, Numbering

Numbers = NDArray[np.integer[Any]]

_BY_CHANCE = 0.00135
"""How likely a score by chance may be that is told from chance: three standard errors of a normal distribution."""
_MOST_PAIRS = 20_000_000
"""Of folders and outputs among which the best pairing is looked for: seconds."""


def of(right: Numbers, said: Numbers, numbers: Numbering, *, high: float) -> list[str]:
    """Return what a reader must know of an accuracy before believing it; each goes on after the word accuracy.

    Args:
        right: the number of each image's class.
        said: what the network said.
        numbers: of the classes.
        high: upper end of the interval of the share that was right.
    """
    doubts = [_near_chance(right, said)]
    if numbers.other:
        share = _in_the_other_order(right, said, numbers)
        order, whose = (TEXT, "torchvision's ImageFolder") if numbers.order == NATURAL else (NATURAL, "timm")
        doubts.append(f"in the order of {whose}, --class-order {order}, {share:.1%} would be right")
        high = max(high, share)
    fits = fit(right, said)
    if fits is not None and _low(fits, len(right)) > high:
        doubts.append(
            f"questioned: with the folders numbered otherwise {fits:.1%} would be right, so that the order of the "
            "classes may not be the checkpoint's; say with --class-order FILE in which order they were trained"
        )
    return [doubt for doubt in doubts if doubt]


def fit(right: Numbers, said: Numbers) -> float | None:
    """Return the share of right answers under the numbering of classes that suits the network best.

    It is found on one half of each class's images and scored on the other, and the other way about, so that what is
    found by luck counts for nothing. None where there are too many classes to look.
    """
    _, place = np.unique(right, return_inverse=True)
    folders, outputs = int(place.max()) + 1, int(max(said.max(), right.max())) + 1
    if folders * outputs > _MOST_PAIRS:
        return None
    order = np.argsort(place, kind="stable")
    half = np.empty(len(right), dtype=bool)
    half[order] = (np.arange(len(right)) - np.searchsorted(place[order], place[order])) % 2 == 1
    hits = 0
    for here in (half, ~half):
        counts = np.zeros((folders, outputs), dtype=np.int64)
        np.add.at(counts, (place[here], said[here]), 1)
        folder, output = linear_sum_assignment(counts, maximize=True)
        paired = np.full(folders, -1)
        paired[folder] = output
        hits += int((paired[place[~here]] == said[~here]).sum())
    return hits / len(right)


def _in_the_other_order(right: Numbers, said: Numbers, numbers: Numbering) -> float:
    """Return the share that would be right if the classes were in the other usual order."""
    turned = np.empty(len(numbers.numbers), dtype=np.int64)
    for name, number in numbers.numbers.items():
        turned[number] = numbers.other[name]
    return float((turned[right] == said).mean())


def _near_chance(right: Numbers, said: Numbers) -> str:
    counts = np.bincount(right)
    chance = counts.max() / len(right)
    by_chance = binomtest(int((right == said).sum()), len(right), chance, alternative="greater").pvalue
    if chance == 1 or by_chance <= _BY_CHANCE:
        return ""
    return (
        f"not told from always naming the commonest class, {chance:.1%} right: are the classes in the order in which "
        "the checkpoint was trained, and are these its weights?"
    )


def _low(share: float, images: int) -> float:
    return float(binomtest(round(share * images), images).proportion_ci(method="wilson").low)
