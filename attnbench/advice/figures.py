"""What is known of a mechanism at a resolution: measured there, or read off its curve between two measured ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.metrics import METRICS, Needs, format_interval, is_number
from attnbench.report.comparison import resolution
from attnbench.report.sheet import failure_of

Row = Any
"""A row as ``DataFrame.itertuples`` yields it."""
_SAME_SHAPE = 0.01
"""How far, in logarithm, height over width may be apart for images to be of one shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A value with its 95 % interval, both ends the value itself where it has none."""

    metric: str
    value: float
    low: float
    high: float
    between: tuple[str, ...] = ()
    """The resolutions that it was read between; empty if it was measured."""
    rows: tuple[str, ...]
    """Keys of the cells that it rests on."""

    @property
    def words(self) -> str:
        """The value with its unit and interval, and where it was read if it was not measured."""
        ends = (None, None) if self.low == self.high else (self.low, self.high)
        said = format_interval(self.metric, self.value, *ends)
        if len(self.between) == 1:
            return f"{said}, as at {self.between[0]}, which has as many pixels"
        return f"{said}, read off between {' and '.join(self.between)}" if self.between else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Why there is no figure."""

    why: str


def figure(rows: Sequence[Row], metric: str, *, height: int, width: int) -> Known | Unknown:
    """Return what rows of one mechanism under one set of conditions say of a metric at a resolution.

    Between two resolutions the logarithm of a figure is taken to be linear in that of the number of pixels, the ends
    of its interval likewise, of images of the same shape where there are such on both sides. Nothing is said beyond
    what was measured, nor across a cell that did not end ok. An accuracy belongs to the resolution of its training and
    is never read off.

    Args:
        rows: of prepared rows.
        metric: name of a metric.
        height: of the images, in pixels.
        width: likewise.
    """
    here = [row for row in rows if (row.res_height, row.res_width) == (height, width)]
    if here:
        return _measured(here[-1], metric)
    if METRICS[metric].needs is Needs.ACCURACY:
        return _wherever(rows, metric)
    same = [row for row in rows if abs(math.log(row.res_height * width / (row.res_width * height))) < _SAME_SHAPE]
    found = _between(same, metric, height * width) if same else None
    return found if isinstance(found, Known) else _between(rows, metric, height * width)


def _wherever(rows: Sequence[Row], metric: str) -> Known | Unknown:
    found = [one for row in rows if isinstance(one := _measured(row, metric), Known)]
    if len({one.value for one in found}) == 1:
        return found[0]
    return Unknown(why="it has several, at other resolutions" if found else "it was not measured")


def _measured(row: Row, metric: str) -> Known | Unknown:
    value = getattr(row, metric)
    doubts = [getattr(row, doubt) for doubt in METRICS[metric].doubted_by]
    why = failure_of(row) or next((f"not ranked: {doubt}" for doubt in doubts if doubt), "")
    if why:
        return Unknown(why=why)
    if not is_number(value):
        return Unknown(why="it was not measured")
    low, high = _ends(row, metric)
    return Known(metric=metric, value=value, low=low, high=high, rows=(row.cell_key,))


def _ends(row: Row, metric: str) -> tuple[float, float]:
    """Return the interval of a metric, that of a throughput from the latency that it is computed from."""
    value, found = getattr(row, metric), METRICS[metric]
    if found.inverse_of:
        latency = getattr(row, found.inverse_of)
        low, high = (getattr(row, end) for end in METRICS[found.inverse_of].ends)
        return (value * latency / high, value * latency / low) if is_number(low) and is_number(high) else (value, value)
    ends = [getattr(row, end) for end in found.ends]
    return (ends[0], ends[1]) if ends and all(map(is_number, ends)) else (value, value)


def _between(rows: Sequence[Row], metric: str, pixels: int) -> Known | Unknown:
    """Return a figure read between the nearest rows with fewer and with more pixels, or with as many."""
    below = max((row for row in rows if _pixels(row) <= pixels), key=_pixels, default=None)
    above = min((row for row in rows if _pixels(row) >= pixels), key=_pixels, default=None)
    if below is None or above is None:
        sizes = sorted((_pixels(row), resolution(row.res_height, row.res_width)) for row in rows)
        said = f"{sizes[0][1]} to {sizes[-1][1]}" if len({size for size, _ in sizes}) > 1 else f"{sizes[0][1]} alone"
        return Unknown(why=f"it was measured at {said}, which says nothing of what lies beyond")
    ends = {row.cell_key: row for row in (below, above)}.values()
    found = {resolution(row.res_height, row.res_width): _measured(row, metric) for row in ends}
    for size, one in found.items():
        if isinstance(one, Unknown):
            return Unknown(why=f"at {size}: {one.why}")
    figures = [one for one in found.values() if isinstance(one, Known)]
    share = 0.0 if _pixels(above) == _pixels(below) else math.log(pixels / _pixels(below)) / _apart(below, above)
    value, low, high = (_interpolated(each, share) for each in zip(*map(_three, figures), strict=True))
    return Known(
        metric=metric,
        value=value,
        low=low,
        high=high,
        between=tuple(found),
        rows=tuple(key for one in figures for key in one.rows),
    )


def _pixels(row: Row) -> int:
    return int(row.res_height) * int(row.res_width)


def _apart(below: Row, above: Row) -> float:
    return math.log(_pixels(above) / _pixels(below))


def _three(found: Known) -> Iterator[float]:
    yield from (found.value, found.low, found.high)


def _interpolated(ends: Sequence[float], share: float) -> float:
    """Return what lies a share of the way from the first to the last, on a logarithmic axis."""
    first, last = ends[0], ends[-1]
    if first == last or min(first, last) <= 0:
        return first + share * (last - first)
    return math.exp((1 - share) * math.log(first) + share * math.log(last))
