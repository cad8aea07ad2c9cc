"""What is drawn: a quantity, and for every label its points and the cells that have none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from attnbench.metrics import METRICS, Scale, is_number, scale
from attnbench.report.palette import Style
from attnbench.report.selection import MOST_SERIES

Size = tuple[int, int]
"""Height and width of the image in pixels."""
COINCIDING = 0.01
"""Share of a value by which two may differ and still be drawn over each other: less than a line is wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A measured value, in the metric's own unit."""

    size: Size
    value: float
    low: float
    """The value itself where there is no interval."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One mechanism, or one variant of it."""

    label: str
    style: Style
    points: tuple[Point, ...]
    """In the order of resolution."""
    failures: Mapping[Size, str]
    """Status of every cell that failed and has no value."""
    doubted: frozenset[Size] = frozenset()
    """Where something speaks against the value: it is crossed out, and nobody's best."""


def gather(rows: pd.DataFrame, metric: str, looks: Mapping[str, Style]) -> list[Series]:
    """Return prepared rows as series, in the order in which they were run."""
    found: dict[str, list[tuple[Size, object, object, object, object]]] = {}
    doubted: dict[str, set[Size]] = {}
    read = ("label", "res_height", "res_width", "status", metric, *(METRICS[metric].ends or (metric, metric)))
    # Column by column: a frame for each label takes longer to come by than to read.
    for doubt, label, height, width, *cell in zip(
        is_doubted(rows, metric), *(rows[name].tolist() for name in read), strict=True
    ):
        size = (int(height), int(width))
        found.setdefault(str(label), []).append((size, *cell))
        doubted.setdefault(str(label), set()).update([size] if doubt else [])
    return [_series(label, cells, looks[label], doubted[label]) for label, cells in found.items()]


def is_doubted(rows: pd.DataFrame, *metrics: str) -> list[bool]:
    """Return of which rows something speaks against one of the metrics, so that they are not ranked by it."""
    doubts = list(dict.fromkeys(doubt for metric in metrics for doubt in METRICS[metric].doubted_by))
    return rows[doubts].astype(bool).any(axis=1).tolist()


def crossed_out(labels: Iterable[str]) -> list[str]:
    """Return what a plot says of values that it crosses out; nothing where there are none."""
    named = ", ".join(dict.fromkeys(labels))
    return [f"crossed out, not ranked: {named}"] if named else []


def foremost(series: list[Series], baseline: str) -> list[Series]:
    """Return as many series as one plot can show: all, or the baseline and those that end lowest at the largest image.

    They stay in their order.
    """
    if len(series) <= MOST_SERIES:
        return series
    ends = {
        each.label: (bool(each.doubted), -math.prod(each.points[-1].size), each.points[-1].value)
        for each in series
        if each.points
    }
    order = sorted(ends, key=lambda label: (label != baseline, ends[label]))
    kept = set(order[:MOST_SERIES])
    return [each for each in series if each.label in kept]


def coinciding(series: Sequence[Series]) -> list[list[str]]:
    """Return the labels whose lines cover each other: at the same resolutions, and everywhere as good as equal."""
    groups: list[list[Series]] = []
    for each in series:
        alike = next((group for group in groups if _coincide(group[0].points, each.points)), None)
        if alike is None:
            groups.append([each])
        else:
            alike.append(each)
    return [[each.label for each in group] for group in groups if len(group) > 1 and group[0].points]


def have_intervals(series: Sequence[Series]) -> bool:
    """Return whether a point of any of the series has an interval; exact figures have none."""
    return any(point.low < point.high for each in series for point in each.points)


def unit_of(series: list[Series], metric: str) -> Scale:
    """Return the unit that suits all points."""
    return scale(metric, [point.value for each in series for point in each.points])


def axis_label(metric: str, unit: Scale) -> str:
    """Return what stands beside an axis, with the unit."""
    return f"{METRICS[metric].label} ({unit.unit})"


def title_of(metric: str) -> str:
    """Return what a plot of a metric is headed."""
    plot = METRICS[metric].plot
    return plot.title if plot else METRICS[metric].label


def _coincide(some: Sequence[Point], others: Sequence[Point]) -> bool:
    return [point.size for point in some] == [point.size for point in others] and all(
        abs(other.value - point.value) <= COINCIDING * point.value for point, other in zip(some, others, strict=True)
    )


def _series(
    label: str, cells: Iterable[tuple[Size, object, object, object, object]], style: Style, doubted: Iterable[Size]
) -> Series:
    """Return the cells of a mechanism, each its size, status, value and the ends of its interval, as a series."""
    points: dict[Size, Point] = {}
    failures: dict[Size, str] = {}
    for size, status, value, low, high in cells:
        if is_number(value) and value > 0:
            points.setdefault(size, _point(size, value, low, high))
        elif status not in ("ok", None):
            failures.setdefault(size, str(status))
    ordered = sorted(points.values(), key=lambda point: (point.size[0] * point.size[1], point.size))
    lasting = {size: status for size, status in failures.items() if size not in points}
    return Series(
        label=label,
        style=style,
        points=tuple(ordered),
        failures=lasting,
        doubted=frozenset(points.keys() & set(doubted)),
    )


def _point(size: Size, value: float, low: object, high: object) -> Point:
    """Return a point; of an interval with an end at 0, or beside its value, no axis can show anything."""
    if is_number(low) and is_number(high) and 0 < low <= value <= high:
        return Point(size=size, value=value, low=low, high=high)
    return Point(size=size, value=value, low=value, high=value)
