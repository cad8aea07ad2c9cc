"""How far mechanisms are apart at each resolution, worked out for many pairs of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from attnbench.metrics import METRICS, Better
from attnbench.report.crossing import Gap
from attnbench.report.measured import numbers

Values = NDArray[np.float64]
Numbers = NDArray[np.intp]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """How two mechanisms stand to each other at the resolutions at which both have a value, the smallest first."""

    sides: tuple[int, ...]
    signs: tuple[int, ...]
    """-1 where the first leads, 1 where the second does, 0 where it is undecided."""
    ends: Values
    """(3, sides): value, lower and upper end, logarithms of the ratio of the first to the second."""

    def each(self) -> list[Gap]:
        """Return them one by one."""
        return [
            Gap(side=side, value=value, low=low, high=high)
            for side, (value, low, high) in zip(self.sides, self.ends.T.tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What is read of a metric in the rows of a frame."""

    labels: Numbers
    """A number for each mechanism."""
    numbered: Mapping[str, int]
    sides: Numbers
    """Of the images, in pixels."""
    usable: NDArray[np.bool_]
    """Whether a row has a value, at a square image, that nothing speaks against."""
    logarithms: Values
    """(sources, 3, rows): of value, lower and upper end, NaN where one lacks; the better sources first."""
    baselines: Numbers
    """(sources, rows): what values were taken over, as a number."""
    falling: bool
    """Whether the higher of two values leads."""

    def gaps(self, places: Numbers, pairs: Iterable[Pair]) -> Iterator[tuple[Pair, Gaps]]:
        """Yield the gaps of pairs of labels, those left out that have fewer than two.

        Args:
            places: of the rows of one setting; of several of a mechanism at a resolution the first stands.
            pairs: whom to compare.
        """
        used = places[self.usable[places]][::-1]  # what is written last stays
        present, rows = np.unique(self.labels[used], return_inverse=True)
        sides, columns = np.unique(self.sides[used], return_inverse=True)
        shape = (len(present), len(sides))
        logarithms = np.full((*self.logarithms.shape[:2], *shape), np.nan)
        baselines = np.zeros((len(self.baselines), *shape), dtype=np.intp)
        logarithms[:, :, rows, columns] = self.logarithms[:, :, used]
        baselines[:, rows, columns] = self.baselines[:, used]
        where = {number: row for row, number in enumerate(present.tolist())}
        rows_of = {label: where[number] for label, number in self.numbered.items() if number in where}
        found = [pair for pair in pairs if pair[0] in rows_of and pair[1] in rows_of]
        firsts, seconds = ([rows_of[pair[place]] for pair in found] for place in (0, 1))
        yield from _whole(found, tuple(sides.tolist()), self._apart(logarithms, baselines, firsts, seconds))

    def _apart(self, logarithms: Values, baselines: Numbers, firsts: list[int], seconds: list[int]) -> Values:
        """Return (3, pairs, sides): how far apart values and the ends of their ratios' intervals are, NaN if unknown.

        The ends of the ratio are those of the two intervals taken against each other: where errors are normal that
        covers at least as often as either interval, however the errors depend on each other.
        """
        found = np.full((3, len(firsts), logarithms.shape[-1]), np.nan)
        for values, bases in zip(logarithms, baselines, strict=True):
            one, other = values[:, firsts], values[:, seconds]
            apart = np.stack((one[0] - other[0], one[1] - other[2], one[2] - other[1]))
            found = np.where(np.isnan(found[0]) & (bases[firsts] == bases[seconds]), apart, found)
        return -found[[0, 2, 1]] if self.falling else found


def _whole(pairs: Sequence[Pair], sides: tuple[int, ...], ends: Values) -> Iterator[tuple[Pair, Gaps]]:
    """Yield the gaps at those sides at which each pair has one, of pairs with two or more."""
    known = ~np.isnan(ends[0])
    signs = ((ends[1] > 0).astype(int) - (ends[2] < 0)).tolist()
    everywhere = [bool(each.all()) for each in known]
    for place, pair in enumerate(pairs):
        if everywhere[place] and len(sides) > 1:
            yield pair, Gaps(sides=sides, signs=tuple(signs[place]), ends=ends[:, place])
        elif len(there := np.flatnonzero(known[place])) > 1:
            taken = there.tolist()
            own, led = (tuple(each[one] for one in taken) for each in (sides, signs[place]))
            yield pair, Gaps(sides=own, signs=led, ends=ends[:, place, there])


def readings(rows: pd.DataFrame, metric: str) -> Readings:
    """Return what is read of a metric in prepared rows."""
    doubted = rows[list(METRICS[metric].doubted_by)].astype(bool).any(axis=1)
    square = rows["res_height"] == rows["res_width"]
    labels, names = pd.factorize(rows["label"])
    sources = [_source(rows, source) for source in _sources(metric)]
    return Readings(
        labels=labels,
        numbered={str(name): number for number, name in enumerate(names)},
        sides=rows["res_height"].to_numpy(dtype=np.intp),
        usable=(square & ~doubted & (_numbers(rows[metric]) > 0)).to_numpy(),
        logarithms=np.stack([values for values, _ in sources]),
        baselines=np.stack([baselines for _, baselines in sources]),
        falling=METRICS[metric].better is Better.HIGHER,
    )


def _source(rows: pd.DataFrame, source: str) -> tuple[Values, Numbers]:
    """Return the logarithms of value and ends of a metric, NaN where one lacks, and what the values were taken over."""
    values = np.stack([_numbers(rows[name]) for name in (source, *(METRICS[source].ends or (source, source)))])
    ratio = bool(METRICS[source].ratio_of)
    baselines = pd.factorize(rows["baseline"])[0] if ratio else np.zeros(len(rows), dtype=np.intp)
    return np.log(np.where((values > 0).all(axis=0), values, np.nan)), baselines


def _numbers(values: pd.Series[Any]) -> Values:
    """Return numbers, and NaN for what is none."""
    return np.array(numbers(values), dtype=float)


@cache
def _sources(metric: str) -> tuple[str, ...]:
    """Return where values with intervals are read, the better first: what slows a whole round is not in its ratios."""
    return (*(name for name, one in METRICS.items() if one.ratio_of == metric), metric)
