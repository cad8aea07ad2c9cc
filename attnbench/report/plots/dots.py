"""A quantity at one resolution: a row for every mechanism, the best first, what is not ranked after it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnbench.metrics import METRICS, Form, Scale, format_interval
from attnbench.report.comparison import resolution
from attnbench.report.placement import binary_ticks, linear_ticks, log_ticks
from attnbench.report.plots.canvas import MARKER_SIZE, SMALL, TICK_SIZE, bare, cross_out, sheet, text_width
from attnbench.report.plots.series import Point, Series, Size, axis_label, title_of, unit_of

_WIDTH, _ROW = 4.4, 0.3
_WIDE_RANGE = 20
"""Largest over smallest value from which on a linear axis would squeeze the small ones together."""


def dots(series: list[Series], metric: str, sizes: list[Size], subtitle: str) -> Figure:
    """Return the plot of a quantity at a single resolution; mechanisms that did not run follow at the end.

    At least one of the series has a point.
    """
    drawn = sorted(
        (each for each in series if each.points), key=lambda each: (bool(each.doubted), each.points[0].value)
    )
    failed = [each for each in series if not each.points and each.failures]
    ordered = [*drawn, *failed]
    figures = [_figures(each.points[0], metric) for each in drawn]
    found = sheet(
        f"{title_of(metric)} at resolution {resolution(*sizes[0])}",
        subtitle,
        width=_WIDTH,
        height=_ROW * len(ordered) + 0.1,
        left=0.35 + text_width((each.label for each in ordered), size=TICK_SIZE),
        right=0.3 + text_width(figures),
    )
    _rows(found.axes, ordered)
    _points(found.axes, drawn, metric, unit_of(drawn, metric))
    _beside(found.axes, figures)
    for row, each in enumerate(failed, start=len(drawn)):
        _failed(found.axes, row, each)
    return found.figure


def _rows(axes: Axes, ordered: list[Series]) -> None:
    bare(axes)
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.set_yticks(range(len(ordered)), [each.label for each in ordered])
    for label, each in zip(axes.get_yticklabels(), ordered, strict=True):
        label.set_color(each.style.ink)
    axes.tick_params(axis="y", length=0)
    axes.grid(color="#E3E3E3", linewidth=0.7)


def _points(axes: Axes, drawn: list[Series], metric: str, unit: Scale) -> None:
    for row, each in enumerate(drawn):
        point, style = each.points[0], each.style
        axes.errorbar(
            point.value / unit.size,
            row,
            xerr=[[(point.value - point.low) / unit.size], [(point.high - point.value) / unit.size]],
            fmt=style.marker,
            color=style.color,
            markersize=MARKER_SIZE + 1,
            markerfacecolor=style.color if style.filled else "white",
            elinewidth=1.6,
            capsize=3,
        )
    doubted = [row for row, each in enumerate(drawn) if each.doubted]
    cross_out(axes, [drawn[row].points[0].value / unit.size for row in doubted], doubted)
    _ticks(axes, [each.points[0] for each in drawn], metric, unit)
    axes.set_xlabel(axis_label(metric, unit))


def _ticks(axes: Axes, points: list[Point], metric: str, unit: Scale) -> None:
    low, high = min(point.low for point in points) / unit.size, max(point.high for point in points) / unit.size
    if high > _WIDE_RANGE * low:
        axes.set_xscale("log")
        axes.minorticks_off()
        low, high = low / 1.3, high * 1.3
        ticks = (binary_ticks if METRICS[metric].form is Form.BINARY else log_ticks)(low, high)
    else:
        low, high = 0.0, high * 1.06
        ticks = linear_ticks(low, high)
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [format(tick, ".10g") for tick in ticks])


def _beside(axes: Axes, figures: list[str]) -> None:
    for row, text in enumerate(figures):
        axes.annotate(
            text,
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            size=SMALL,
            va="center",
            annotation_clip=False,
        )


def _failed(axes: Axes, row: int, series: Series) -> None:
    """Put a cross at the axis and the status beside it."""
    status = next(iter(series.failures.values()))
    axes.plot(
        [0.02],
        [row],
        "x",
        color=series.style.color,
        markersize=MARKER_SIZE + 1,
        markeredgewidth=2,
        transform=axes.get_yaxis_transform(),
    )
    axes.annotate(
        status,
        (0.02, row),
        xycoords=("axes fraction", "data"),
        xytext=(9, 0),
        textcoords="offset points",
        size=SMALL,
        va="center",
        color=series.style.ink,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _figures(point: Point, metric: str) -> str:
    low, high = (point.low, point.high) if point.low < point.high else (None, None)
    return format_interval(metric, point.value, low, high)
