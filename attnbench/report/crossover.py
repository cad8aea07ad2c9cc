"""At which resolution one mechanism overtakes another: where their curves over resolution meet.

Between neighbouring measured resolutions the logarithm of the two values' ratio is taken to be linear in the logarithm
of the number of tokens, as it is for powers of it. Only square images are looked at: of a wide map a mechanism may make
something else than of a square one with as many tokens. Their tokens grow with the square of the side, so resolutions
are given as sides. ``docs/figures.md`` says what the intervals hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import pandas as pd

from attnbench.errors import did_you_mean
from attnbench.metrics import METRICS, Better, Crossings, Needs, crossed_in, is_number
from attnbench.report.comparison import AXES, COUNTED, prepared, split
from attnbench.report.crossing import Crossing, CrossingKind, Gap, along
from attnbench.report.selection import MOST_OF_ALL_PAIRS

SHOWN = crossed_in(Crossings.REPORT)
"""The metrics of a report."""
KEPT = crossed_in(Crossings.REPORT, Crossings.FILE)
"""The metrics of ``crossovers.csv``."""

_WHERE = ("label", "res_height", "res_width")

Setting = tuple[tuple[str, ...], pd.DataFrame]
"""What tells some rows from the rest of the frame, and those rows."""
Reading = tuple[object, float, float, float]
"""The baseline of a ratio, None of anything else, and the logarithms of a value and of the ends of its interval."""
Readings = tuple[Reading | None, ...]
"""What is read of one row, the better source first; None where one lacks an end."""
Curve = Mapping[int, Readings]
"""Of one mechanism in one setting, by the side of the image."""


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
    return [one for setting in settings(rows, metric) for one in in_setting(setting, metric, [(first, second)])]


def crossovers(rows: pd.DataFrame, metrics: Iterable[str] = KEPT) -> list[Crossover]:
    """Return the same for every pair of mechanisms, metric by metric.

    Of more than ``selection.MOST_OF_ALL_PAIRS`` mechanisms in one setting only pairs with the baseline: others would be
    more than the rows by far.
    """
    return [
        one
        for metric in metrics
        for setting in settings(rows, metric)
        for one in in_setting(setting, metric, pairs(setting[1]))
    ]


def kind_of(metric: str) -> CrossingKind:
    """Return what the ends of a metric's crossings are."""
    return CrossingKind.INTERVAL if METRICS[_read_from(metric)].ends else CrossingKind.BRACKET


def against_baseline(setting: Setting, metric: str) -> list[Crossover]:
    """Return how every mechanism stands to the baseline in one setting."""
    baseline = baseline_of(setting[1])
    return in_setting(setting, metric, [pair for pair in pairs(setting[1]) if pair[1] == baseline])


def settings(rows: pd.DataFrame, metric: str) -> list[Setting]:
    """Return prepared rows apart by all that may change a metric besides mechanism and resolution.

    Counts depend on neither machine, type nor batch, and a resumed sweep is one sweep: runs, and for counts the other
    conditions, are told apart only where a mechanism has two values at one resolution.
    """
    axes = tuple(axis for axis in AXES if axis != "run_id")
    for by in ([COUNTED] if METRICS[metric].needs is Needs.COUNTS else []) + [axes]:
        found = split(rows, of=rows, axes=by)
        if all(_has_one_value(part, metric) for _, part in found):
            return found
    return split(rows, of=rows)


def in_setting(setting: Setting, metric: str, wanted: Iterable[tuple[str, str]]) -> list[Crossover]:
    """Return how pairs of labels stand to each other in one setting, those left out that cannot be compared there."""
    conditions, rows = setting
    read = _read_from(metric)
    curves = _curves(rows, read)
    return [
        _crossover(first, second, metric, conditions, gaps)
        for first, second in wanted
        if len(gaps := _gaps(curves.get(first, {}), curves.get(second, {}), read)) > 1
    ]


def pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return all pairs of labels, first those with the baseline, which is their second."""
    baseline = baseline_of(rows)
    others = [str(label) for label in rows["label"].unique() if label != baseline]
    rest = combinations(others, 2) if len(others) <= MOST_OF_ALL_PAIRS else ()
    return [*((label, baseline) for label in others if baseline), *rest]


def baseline_of(rows: pd.DataFrame) -> str:
    """Return the label of the baseline, empty if there is none or more than one."""
    labels = rows.loc[rows["is_baseline"].eq(other=True), "label"].unique()
    return str(labels[0]) if len(labels) == 1 else ""


def _has_one_value(rows: pd.DataFrame, metric: str) -> bool:
    seen: dict[object, object] = {}
    for label, height, width, value in zip(*(rows[name] for name in (*_WHERE, metric)), strict=True):
        if value is not None and seen.setdefault((label, height, width), value) != value:
            return False
    return True


def _curves(rows: pd.DataFrame, metric: str) -> Mapping[str, Curve]:
    """Return what is read at square images that have a value, the first of each resolution, by label and side."""
    found: dict[str, dict[int, Readings]] = {}
    sources = _sources(metric)
    ends = [(source, *(METRICS[source].ends or (source, source))) for source in sources]
    doubts = METRICS[metric].doubted_by
    doubted = rows[list(doubts)].astype(bool).any(axis=1)
    others = (metric, "baseline", *(end for each in ends for end in each))
    columns = [doubted, *(rows[name] for name in (*_WHERE, *others))]
    for doubtful, label, height, width, value, baseline, *spans in zip(*columns, strict=True):
        if height == width and not doubtful and is_number(value) and value > 0:
            found.setdefault(label, {}).setdefault(int(height), _readings(sources, baseline, spans))
    return found


def _readings(sources: Sequence[str], baseline: object, spans: Sequence[object]) -> Readings:
    readings: list[Reading | None] = []
    for place, source in enumerate(sources):
        value, low, high = spans[3 * place : 3 * place + 3]
        if is_number(value) and is_number(low) and is_number(high) and value > 0 and low > 0 and high > 0:
            to = baseline if METRICS[source].ratio_of else None
            readings.append((to, math.log(value), math.log(low), math.log(high)))
        else:
            readings.append(None)
    return tuple(readings)


def _gaps(first: Curve, second: Curve, metric: str) -> list[Gap]:
    found = [_gap(side, first[side], second[side], metric) for side in sorted(first.keys() & second.keys())]
    return [gap for gap in found if gap is not None]


def _gap(side: int, first: Readings, second: Readings, metric: str) -> Gap | None:
    """Return the gap at a resolution, None if a value that needs an interval has none.

    The ends of the ratio are those of the two intervals taken against each other: where errors are normal that covers
    at least as often as either interval, however the errors depend on each other.
    """
    for one, other in zip(first, second, strict=True):
        if one is not None and other is not None and one[0] == other[0]:
            gap = Gap(side=side, value=one[1] - other[1], low=one[2] - other[3], high=one[3] - other[2])
            return gap.mirrored() if METRICS[metric].better is Better.HIGHER else gap
    return None


def _read_from(metric: str) -> str:
    """Return the metric that says with an interval how two mechanisms in one setting stand to each other."""
    return METRICS[metric].says_of or metric


@cache
def _sources(metric: str) -> tuple[str, ...]:
    """Return where values with intervals are read, the better first: what slows a whole round is not in its ratios."""
    return (*(name for name, one in METRICS.items() if one.ratio_of == metric), metric)


def _crossover(first: str, second: str, metric: str, conditions: tuple[str, ...], gaps: Sequence[Gap]) -> Crossover:
    signs = [gap.sign for gap in gaps if gap.sign]
    return Crossover(
        first=first,
        second=second,
        metric=metric,
        conditions=conditions,
        resolutions=tuple(gap.side for gap in gaps),
        undecided=tuple(gap.side for gap in gaps if not gap.sign),
        leader="" if not signs else first if signs[0] < 0 else second,
        crossings=along(gaps, kind=kind_of(metric), first=first, second=second),
    )
