"""A quantity against resolution, both axes logarithmic; cells that did not run stand in a strip above."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnbench.metrics import METRICS, Form, Scale
from attnbench.report.crossing import Crossing, CrossingKind
from attnbench.report.placement import binary_ticks, log_ticks
from attnbench.report.plots.across import WIDTH, aside, crowded, mark, names_of, pixels_of
from attnbench.report.plots.canvas import (
    GREY,
    MARKER_SIZE,
    SMALL,
    TICK_SIZE,
    PlotGrid,
    bare,
    cross_out,
    handle,
    sheet,
    text_width,
)
from attnbench.report.plots.labels import Name, legend, margin_has_room, margin_names
from attnbench.report.plots.series import Point, Series, Size, axis_label, have_intervals, title_of, unit_of

_HEIGHT = 3.4
_ROW = 0.2
_BELOW, _LINE = 0.46, 0.16
_MARGIN, _LEGEND_MARGIN = 0.45, 0.75
_RING, _BAR = 4.5, 0.9
_ROOM, _LEAST_ROOM = 0.05, 0.03
"""How far an axis goes beyond its points: a share of what they span, and at least so many powers of ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Where the curves of two mechanisms cross."""

    label: str
    other: str
    """Whose curve the mark stands on."""
    crossing: Crossing


def curves(
    series: list[Series],
    metric: str,
    sizes: list[Size],
    subtitle: str,
    *,
    baseline: str,
    meetings: Sequence[Meeting],
) -> Figure:
    """Return the plot of a quantity at two resolutions or more, with a mark where curves cross.

    Where they have intervals, the mechanisms stand beside each other at a resolution, so that none hides another's.
    """
    failed = [each for each in series if each.failures]
    drawn = [each for each in series if each.points]
    widest, failures = text_width(each.label for each in drawn), text_width(map(_failure, failed))
    ticks = names_of(sizes)
    upright = crowded(ticks)
    # Exact figures hide no interval, and moved points would meet where their lines do not.
    beside = (
        aside([each.label for each in series], baseline, ticks)
        if have_intervals(drawn)
        else {each.label: 1.0 for each in series}
    )
    below = _BELOW + (
        text_width(ticks.values(), size=TICK_SIZE)
        if upright
        else _LINE * max(name.count("\n") + 1 for name in ticks.values())
    )
    ways = ((_MARGIN, margin_names), (_LEGEND_MARGIN, legend))
    for margin, write in ways if margin_has_room(len(drawn), _HEIGHT) else ways[1:]:
        found = sheet(
            title_of(metric),
            subtitle,
            width=WIDTH,
            height=_HEIGHT,
            right=max(margin + widest, _MARGIN + failures),
            above=_ROW * len(failed) + (0.12 if failed else 0),
            below=below,
        )
        mark(found.axes, ticks, upright=upright)
        _strip(found, failed)
        names = _lines(found.axes, drawn, metric, beside)
        _marks(found.axes, drawn, metric, meetings, beside)
        if write(found.axes, names):
            break
    return found.figure


def _lines(axes: Axes, series: list[Series], metric: str, beside: Mapping[str, float]) -> list[Name]:
    """Draw the series and return their names, those of the longest and highest first."""
    unit = unit_of(series, metric)
    for each in series:
        across = [pixels_of(point.size) * beside[each.label] for point in each.points]
        up = [point.value / unit.size for point in each.points]
        for joined, points in _joined(each.points):
            line = handle(each.label, each.style)
            line.set_data(
                [pixels_of(point.size) * beside[each.label] for point in points],
                [point.value / unit.size for point in points],
            )
            if not joined:
                line.set_linestyle("none")
            axes.add_line(line)
        doubted = [place for place, point in enumerate(each.points) if point.size in each.doubted]
        cross_out(axes, [across[place] for place in doubted], [up[place] for place in doubted])
        below = [(point.value - point.low) / unit.size for point in each.points]
        above = [(point.high - point.value) / unit.size for point in each.points]
        if any(below) or any(above):
            axes.errorbar(
                across, up, yerr=(below, above), fmt="none", ecolor=each.style.color, elinewidth=1.2, capsize=2.5
            )
    _ticks_up(axes, series, metric, unit)
    ordered = sorted(series, key=lambda each: (-pixels_of(each.points[-1].size), -each.points[-1].value))
    ends = [(each, each.points[-1]) for each in ordered]
    return [
        Name(text=each.label, style=each.style, x=pixels_of(end.size) * beside[each.label], y=end.value / unit.size)
        for each, end in ends
    ]


def _marks(
    axes: Axes,
    series: Sequence[Series],
    metric: str,
    meetings: Sequence[Meeting],
    beside: Mapping[str, float],
) -> None:
    """Ring every crossing in the colour of the mechanism, a thin bar along it where it has an interval."""
    named = {each.label: each for each in series}
    for meeting in meetings:
        crossing, points = meeting.crossing, named[meeting.other].points
        assert crossing.resolution is not None
        side = math.log(crossing.resolution**2)
        (_, joined), *_ = _joined(points)
        pixels, values = ([math.log(each) for each in given] for given in _line_of(joined))
        height = math.exp(np.interp(side, pixels, values)) / unit_of(list(series), metric).size
        color, shift = named[meeting.label].style.color, beside[meeting.other]
        if crossing.kind is CrossingKind.INTERVAL and crossing.low and crossing.high:
            ends = (crossing.low**2 * shift, crossing.high**2 * shift)
            axes.plot(ends, (height, height), color=color, linewidth=_BAR, zorder=3, solid_capstyle="butt")
        axes.plot(
            crossing.resolution**2 * shift,
            height,
            marker="o",
            markersize=_RING,
            markerfacecolor="white",
            markeredgecolor=color,
            markeredgewidth=1.1,
            zorder=4,
        )


def _joined(points: Sequence[Point]) -> list[tuple[bool, Sequence[Point]]]:
    """Return the points of each shape of image, the square ones first, and whether a line joins them.

    A line between images of two shapes would say what nobody measured; one point alone has none.
    """
    by_shape: dict[float, list[Point]] = {}
    for point in points:
        by_shape.setdefault(point.size[0] / point.size[1], []).append(point)
    ordered = sorted(by_shape, key=lambda shape: (shape != 1, shape))
    return [(len(by_shape[shape]) > 1 or len(by_shape) == 1, by_shape[shape]) for shape in ordered]


def _line_of(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [pixels_of(point.size) for point in points], [point.value for point in points]


def _ticks_up(axes: Axes, series: list[Series], metric: str, unit: Scale) -> None:
    points = [point for each in series for point in each.points]
    low, high = min(point.low for point in points) / unit.size, max(point.high for point in points) / unit.size
    room = 10 ** max(_ROOM * math.log10(high / low), _LEAST_ROOM)
    low, high = low / room, high * room
    ticks = (binary_ticks if METRICS[metric].form is Form.BINARY else log_ticks)(low, high)
    axes.set_yscale("log")
    bare(axes)
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [format(tick, ".10g") for tick in ticks])
    axes.set_ylabel(axis_label(metric, unit))
    axes.grid(axis="y", color="#E3E3E3", linewidth=0.7)


def _strip(found: PlotGrid, failed: list[Series]) -> None:
    """Add a grey row above the axes for every series with cells that did not run, a cross at each of them."""
    if not failed:
        return
    height = found.figure.get_figheight()
    place = found.axes.get_position()
    strip = found.figure.add_axes((place.x0, place.y1 + 0.08 / height, place.width, _ROW * len(failed) / height))
    strip.set_facecolor("#F3F3F3")
    strip.set_xscale("log")
    strip.set_xlim(found.axes.get_xlim())
    strip.set_ylim(len(failed) - 0.5, -0.5)
    strip.spines[:].set_visible(False)
    strip.minorticks_off()
    strip.set_xticks([])
    strip.set_yticks([])
    strip.annotate(
        "did not run",
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-7, 0),
        textcoords="offset points",
        color=GREY,
        size=SMALL,
        ha="right",
        va="center",
    )
    for row, each in enumerate(failed):
        _crosses(strip, row, each)


def _crosses(strip: Axes, row: int, series: Series) -> None:
    across = [pixels_of(size) for size in series.failures]
    strip.plot(across, [row] * len(across), "x", color=series.style.color, markersize=MARKER_SIZE, markeredgewidth=1.8)
    strip.annotate(
        _failure(series),
        (1, row),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        color=series.style.ink,
        size=SMALL,
        va="center",
        annotation_clip=False,
    )


def _failure(series: Series) -> str:
    return f"{series.label}: {', '.join(dict.fromkeys(series.failures.values()))}"
