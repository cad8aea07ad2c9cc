"""A score against latency at one resolution, both with their intervals: accuracy, mIoU, average precision."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from attnbench.metrics import METRICS, is_number, scale
from attnbench.report.comparison import accuracy_conditions, resolution
from attnbench.report.palette import Style
from attnbench.report.placement import linear_ticks, log_ticks
from attnbench.report.plots.canvas import MARKER_SIZE, bare, cross_out, sheet, text_width
from attnbench.report.plots.labels import Name, free_names, legend
from attnbench.report.plots.series import Size, axis_label, crossed_out, is_doubted

_WIDTH, _HEIGHT = 5.0, 3.4
_WIDE_RANGE = 8
_KIND = ["accuracy_kind", "dataset"]
COST = "latency_median_s"
SCORES = tuple(name for name, metric in METRICS.items() if metric.plot and metric.plot.against == COST)
"""What is drawn against latency."""


def kinds_of_score(rows: pd.DataFrame, score: str) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Return rows that have a score apart by its kind and data set, each with what names it if needed.

    Measured, evaluated and published figures are never in one plot.
    """
    measured = rows[rows[score].map(is_number).astype(bool)]
    parts = [(kind, part) for kind, part in measured.groupby(_KIND, sort=False, dropna=False)]
    return [
        (tuple(str(word) for word in kind if isinstance(word, str)) if len(parts) > 1 else (), part)
        for kind, part in parts
    ]


def tradeoff(
    score: str, rows: pd.DataFrame, looks: Mapping[str, Style], size: Size, subtitle: str, *, everyone: pd.DataFrame
) -> Figure | None:
    """Return the plot of rows that share a kind of score, None if none of them has a latency as well.

    Those of ``everyone`` that failed in one or the other are named under the title.
    """
    both = rows[rows[COST].map(is_number).astype(bool)]
    if both.empty:
        return None
    kind = f"accuracy: {accuracy_conditions(both)}"
    crossed = crossed_out(both["label"][is_doubted(both, COST, score)])
    subtitle = "; ".join(filter(None, (subtitle, kind, _absent(everyone), *crossed)))
    plot = METRICS[score].plot
    assert plot is not None, "one of those that are drawn"
    title = f"{plot.title} at resolution {resolution(*size)}"
    found = sheet(title, subtitle, width=_WIDTH, height=_HEIGHT, right=0.25)
    names, crosses = _draw(score, found.axes, both, looks)
    if not free_names(found.axes, names, crosses):
        found = sheet(title, subtitle, width=_WIDTH, height=_HEIGHT, right=0.7 + text_width(both["label"]))
        names, _ = _draw(score, found.axes, both, looks)
        legend(found.axes, sorted(names, key=lambda name: -name.y), lines=False)
    return found.figure


def _draw(score: str, axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Style]) -> tuple[list[Name], list[Bbox]]:
    """Draw the points and return their names, and what is taken by markers and bars."""
    time, share = scale(COST, rows[COST]), scale(score, rows[score])
    spans = [(_span(row, COST, time.size), _span(row, score, share.size)) for _, row in rows.iterrows()]
    for label, (x, y) in zip(rows["label"], spans, strict=True):
        style = looks[label]
        axes.errorbar(
            x[0],
            y[0],
            xerr=[[x[0] - x[1]], [x[2] - x[0]]],
            yerr=[[y[0] - y[1]], [y[2] - y[0]]],
            fmt=style.marker,
            color=style.color,
            markersize=MARKER_SIZE + 1,
            markerfacecolor=style.color if style.filled else "white",
            elinewidth=1.3,
            capsize=2.5,
        )
    doubted = [span for span, doubt in zip(spans, is_doubted(rows, COST, score), strict=True) if doubt]
    cross_out(axes, [x[0] for x, _ in doubted], [y[0] for _, y in doubted])
    bare(axes)
    axes.set_xlabel(axis_label(COST, time))
    axes.set_ylabel(f"{METRICS[score].label.partition(' (')[0].partition(', ')[0]} ({share.unit})")
    axes.grid(color="#E3E3E3", linewidth=0.7)
    _limits(axes, [x for x, _ in spans], [y for _, y in spans])
    names = [
        Name(text=label, style=looks[label], x=x[0], y=y[0]) for label, (x, y) in zip(rows["label"], spans, strict=True)
    ]
    return names, _crosses(axes, spans)


def _absent(rows: pd.DataFrame) -> str:
    """Return who is not there because it failed, and how."""
    failed = {str(row.label): str(row.status) for row in rows.itertuples() if row.status not in ("ok", None)}
    unlearned = {
        str(row.label): f"accuracy {row.accuracy_status!s}"
        for row in rows.itertuples()
        if row.accuracy_status not in ("ok", None) and str(row.label) not in failed
    }
    named = ", ".join(f"{label} ({status})" for label, status in (failed | unlearned).items())
    return f"not there: {named}" if named else ""


Span = tuple[float, float, float]
"""A value and the ends of its interval."""


def _span(row: pd.Series, metric: str, size: float) -> Span:
    value, low, high = (row[each] for each in (metric, *METRICS[metric].ends))
    low, high = (low, high) if is_number(low) and is_number(high) else (value, value)
    return value / size, low / size, high / size


def _limits(axes: Axes, across: list[Span], up: list[Span]) -> None:
    left, right = min(low for _, low, _ in across), max(high for _, _, high in across)
    if right > _WIDE_RANGE * left:
        axes.set_xscale("log")
        axes.minorticks_off()
        left, right = left / 1.2, right * 1.2
        ticks = log_ticks(left, right)
    else:
        left, right = 0.0, right * 1.12
        ticks = linear_ticks(left, right)
    axes.set_xlim(left, right)
    axes.set_xticks(ticks, [format(tick, ".10g") for tick in ticks])
    low, high = min(low for _, low, _ in up), max(high for _, _, high in up)
    pad = 0.12 * (high - low) or 1.0
    axes.set_ylim(low - pad, high + pad)
    ticks = linear_ticks(low - pad, high + pad)
    axes.set_yticks(ticks, [format(tick, ".10g") for tick in ticks])


def _crosses(axes: Axes, spans: list[tuple[Span, Span]]) -> list[Bbox]:
    """Return what markers and error bars cover, in pixels."""
    boxes = []
    for x, y in spans:
        corners = axes.transData.transform([(x[1], y[0]), (x[2], y[0]), (x[0], y[1]), (x[0], y[2]), (x[0], y[0])])
        (left, _), (right, _), (_, low), (_, high), (middle, level) = corners
        boxes += [
            Bbox.from_extents(left, level - 3, right, level + 3),
            Bbox.from_extents(middle - 3, low, middle + 3, high),
            Bbox.from_extents(middle - 5, level - 5, middle + 5, level + 5),
        ]
    return boxes
