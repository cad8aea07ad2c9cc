"""At which resolution one mechanism overtakes another: where their curves over resolution meet.

Between neighbouring measured resolutions the logarithm of the two values' ratio is taken to be linear in the logarithm
of the number of tokens, as it is for powers of it. Only square images are looked at: of a wide map a mechanism may make
something else than of a square one with as many tokens. Their tokens grow with the square of the side, so resolutions
are given as sides. ``docs/figures.md`` says what the intervals hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations

import numpy as np
import pandas as pd

from attnbench.errors import did_you_mean
from attnbench.metrics import METRICS, Better, Crossings, Needs, crossed_in
from attnbench.report.comparison import AXES, COUNTED, Places, apart, prepared, varying
from attnbench.report.crossing import Crossing, CrossingKind, along
from attnbench.report.gaps import Gaps, Pair, readings
from attnbench.report.selection import MOST_OF_ALL_PAIRS

SHOWN = crossed_in(Crossings.REPORT)
"""The metrics of a report."""
KEPT = crossed_in(Crossings.REPORT, Crossings.FILE)
"""The metrics of ``crossovers.csv``."""

_WHERE = ("label", "res_height", "res_width")

Setting = tuple[tuple[str, ...], Places]
"""What tells some rows from the rest of the frame, and where they stand in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """How two mechanisms stand to each other over resolution, in one setting and one metric."""

    first: str
    second: str
    metric: str
    conditions: tuple[str, ...]
    """What tells the setting from the others of the frame."""
    resolutions: tuple[int, ...]
    """At which both have a value."""
    undecided: tuple[int, ...]
    """Those of them at which it is not decided who leads."""
    leader: str
    """Who leads at the smallest resolution at which that is decided; empty if it is decided nowhere."""
    crossings: tuple[Crossing, ...]
    """By resolution; where there is none, the leader leads throughout."""

    @property
    def certain(self) -> tuple[Crossing, ...]:
        """The crossings with a decided lead on either side."""
        return tuple(crossing for crossing in self.crossings if crossing.certain)

    @property
    def words(self) -> str:
        """How the first stands to the second, for people."""
        level = "undecided" if kind_of(self.metric) is CrossingKind.INTERVAL else "level"
        if not self.leader:
            return f"{level} at {self._sides(self.resolutions)}"
        said = [self._said(crossing) for crossing in self.crossings]
        if not self.certain:
            decided = [side for side in self.resolutions if side not in self.undecided]
            said.insert(0, f"{self._place(self.leader)} at {self._sides(decided)}")
        untold = [side for side in self.undecided if not any(one.spans(side) for one in self.crossings)]
        return "; ".join([*said, *([f"{level} at {self._sides(untold)}"] if untold else [])])

    def _said(self, crossing: Crossing) -> str:
        if crossing.certain and crossing.low is not None and crossing.high is not None:
            ends = "[{:.0f}, {:.0f}]" if crossing.kind is CrossingKind.INTERVAL else "({:.0f} to {:.0f})"
            where = f"{crossing.resolution:.0f} {ends.format(crossing.low, crossing.high)}"
            return f"{self._place(crossing.leads_above)} from {where}"
        doubtful = self._sides([side for side in self.undecided if crossing.spans(side)])
        if crossing.low is None:
            return f"may be {self._place(crossing.leads_below)} below {crossing.high:.0f} (not certain at {doubtful})"
        overtaken = "overtake" if crossing.leads_above == self.first else "fall behind"
        return f"may {overtaken} above {crossing.low:.0f} (not certain at {doubtful})"

    def _sides(self, sides: Sequence[int]) -> str:
        """Return some of the resolutions in words, as a range where more than two follow one another."""
        first = self.resolutions.index(sides[0])
        if len(sides) > 2 and tuple(sides) == self.resolutions[first : first + len(sides)]:
            return f"{sides[0]} to {sides[-1]}"
        return " and ".join(filter(None, (", ".join(map(str, sides[:-1])), str(sides[-1]))))

    def _place(self, leader: str) -> str:
        return "ahead" if leader == self.first else "behind"


def crossings(frame: pd.DataFrame, first: str, second: str, metric: str) -> list[Crossover]:
    """Return how two mechanisms stand to each other, for every setting in which both have two square resolutions.

    Args:
        frame: One row per cost cell, with the columns of ``records.csv``.
        first: Label of a mechanism, as in the tables.
        second: Label of another.
        metric: One that is better lower or better higher.

    Raises:
        ValueError: there is no such metric or label, or neither way is better.
    """
    rows = prepared(frame)
    for name, known in ((metric, METRICS), (first, set(rows["label"])), (second, set(rows["label"]))):
        if name not in known:
            raise ValueError(f"no {name!r} to compare; {did_you_mean(name, known)}")
    if METRICS[metric].better is Better.NEITHER:
        raise ValueError(f"{metric} is better neither lower nor higher; give one that is, such as latency_median_s")
    return list(_in_settings(rows, metric, settings(rows, metric), lambda _: [(first, second)]))


def crossovers(rows: pd.DataFrame, metrics: Iterable[str] = KEPT) -> list[Crossover]:
    """Return the same for every pair of mechanisms, metric by metric.

    Of more than ``selection.MOST_OF_ALL_PAIRS`` mechanisms in one setting only pairs with the baseline: others would be
    more than the rows by far.
    """
    pairs = partial(_pairs, rows["label"].tolist(), rows["is_baseline"].eq(other=True).tolist())
    return [one for metric in metrics for one in _in_settings(rows, metric, settings(rows, metric), pairs)]


@cache
def kind_of(metric: str) -> CrossingKind:
    """Return what the ends of a metric's crossings are."""
    return CrossingKind.INTERVAL if METRICS[METRICS[metric].says_of or metric].ends else CrossingKind.BRACKET


def against_baseline(rows: pd.DataFrame, metric: str) -> list[Crossover]:
    """Return how every mechanism stands to the baseline in rows of one setting."""
    baseline = baseline_of(rows)
    pairs = [(str(label), baseline) for label in rows["label"].unique() if baseline and label != baseline]
    return list(_in_settings(rows, metric, [((), np.arange(len(rows)))], lambda _: pairs))


def settings(rows: pd.DataFrame, metric: str) -> list[Setting]:
    """Return prepared rows apart by all that may change a metric besides mechanism and resolution.

    Counts depend on neither machine, type nor batch, and a resumed sweep is one sweep: runs, and for counts the other
    conditions, are told apart only where a mechanism has two values at one resolution.
    """
    axes = tuple(axis for axis in AXES if axis != "run_id")
    known = rows[rows[metric].notna()]
    for by in ([COUNTED] if METRICS[metric].needs is Needs.COUNTS else []) + [axes]:
        changing = varying(rows, by)
        values = known.groupby([*changing, *_WHERE], dropna=False)[metric].nunique()
        if not (values > 1).any():
            return apart(rows, changing)
    return apart(rows, varying(rows))


def baseline_of(rows: pd.DataFrame) -> str:
    """Return the label of the baseline, empty if there is none or more than one."""
    labels = rows.loc[rows["is_baseline"].eq(other=True), "label"].unique()
    return str(labels[0]) if len(labels) == 1 else ""


def _in_settings(
    rows: pd.DataFrame, metric: str, found: Iterable[Setting], pairs: Callable[[Places], Iterable[Pair]]
) -> Iterator[Crossover]:
    """Yield how pairs of labels stand to each other in each setting, those left out that cannot be compared there."""
    read = readings(rows, METRICS[metric].says_of or metric)
    for conditions, places in found:
        for pair, gaps in read.gaps(places, pairs(places)):
            yield _crossover(pair, metric, conditions, gaps)


def _pairs(labels: Sequence[str], leading: Sequence[bool], places: Places) -> Iterator[Pair]:
    """Yield all pairs of labels at some places, first those with the baseline, which is their second."""
    here = places.tolist()
    baselines = {labels[place] for place in here if leading[place]}
    baseline = baselines.pop() if len(baselines) == 1 else ""
    others = [label for label in dict.fromkeys(labels[place] for place in here) if label != baseline]
    if baseline:
        yield from ((label, baseline) for label in others)
    if len(others) <= MOST_OF_ALL_PAIRS:
        yield from combinations(others, 2)


def _crossover(pair: Pair, metric: str, conditions: tuple[str, ...], gaps: Gaps) -> Crossover:
    (first, second), kind = pair, kind_of(metric)
    decided = [sign for sign in gaps.signs if sign]
    # Where one leads at every end that counts, no curve has to be followed.
    followed = any(sign != decided[0] for sign in decided) or (0 in gaps.signs and kind is CrossingKind.INTERVAL)
    return Crossover(
        first=first,
        second=second,
        metric=metric,
        conditions=conditions,
        resolutions=gaps.sides,
        undecided=tuple(side for side, sign in zip(gaps.sides, gaps.signs, strict=True) if not sign),
        leader="" if not decided else first if decided[0] < 0 else second,
        crossings=along(gaps.each(), kind=kind, first=first, second=second) if followed else (),
    )
