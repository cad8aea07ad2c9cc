"""Accuracy along the axis of a task: a panel a mechanism, with the most that its reach allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnbench.accuracy.tasks.curve import Curve
from attnbench.metrics import is_number
from attnbench.report.comparison import accuracy_conditions
from attnbench.report.palette import Style
from attnbench.report.plots.canvas import GREY, SMALL, bare

CURVE = "accuracy_curve"
_PANEL, _COLUMNS = (1.55, 1.25), 6
"""Width and height of a panel in inches, with what stands around it; panels beside each other, at most."""
_ABOVE, _BELOW, _LEFT = 0.75, 0.75, 0.45


def tasks_of(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows that have a curve apart by their task, one for each label."""
    found = rows[rows[CURVE].map(lambda text: isinstance(text, str)).astype(bool)]
    first = found.drop_duplicates(["label", "dataset"])
    return [(str(dataset), part) for dataset, part in first.groupby("dataset", sort=False)]


def along(rows: pd.DataFrame, looks: Mapping[str, Style]) -> Figure:
    """Return the plot of rows of one task.

    Args:
        rows: with a curve each, at least one.
        looks: styles by label.
    """
    labels = [str(label) for label in rows["label"]]
    columns = min(_COLUMNS, len(labels))
    lines = math.ceil(len(labels) / columns)
    width, height = max(5.2, _LEFT + columns * _PANEL[0]), _ABOVE + lines * _PANEL[1] + _BELOW
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    first = rows.iloc[0]
    figure.text(0.12 / width, 1 - 0.1 / height, f"Accuracy on {first.dataset}", weight="bold", size=11.5, va="top")
    figure.text(0.12 / width, 1 - 0.34 / height, accuracy_conditions(rows), color=GREY, size=SMALL, va="top")
    for place, (_, row) in enumerate(rows.iterrows()):
        line, column = divmod(place, columns)
        left = _LEFT + column * _PANEL[0] + 0.12
        down = _BELOW + (lines - 1 - line) * _PANEL[1] + 0.12
        box = (left / width, down / height, (_PANEL[0] - 0.22) / width, (_PANEL[1] - 0.42) / height)
        axes = figure.add_axes(box)
        _draw(axes, row, looks[str(row["label"])])
        axes.set_title(str(row["label"]), size=SMALL, pad=3, loc="left")
        below = place + columns >= len(labels)
        axes.tick_params(labelsize=7, labelleft=column == 0, labelbottom=below, length=2)
    figure.text((_LEFT + 0.12) / width, 0.34 / height, str(first.accuracy_axis), size=SMALL)
    figure.text(
        0.1 / width, (_BELOW + lines * _PANEL[1] / 2) / height, "right (%)", size=SMALL, rotation=90, va="center"
    )
    figure.legend(
        handles=_legend(rows), loc="lower left", bbox_to_anchor=((_LEFT + 0.02) / width, 0.0), ncols=3,
        frameon=False, fontsize=SMALL,
    )  # fmt: skip
    return figure


def _draw(axes: Axes, row: pd.Series, style: Style) -> None:
    points = list(Curve.read(row[CURVE]).points())
    at = {point.value: place for place, point in enumerate(points)}
    if isinstance(row["accuracy_ceiling"], str):
        most = [point for point in Curve.read(row["accuracy_ceiling"]).points() if point.value in at]
        axes.plot([at[each.value] for each in most], [100 * each.mean for each in most], "--", color=GREY, linewidth=1)
    if is_number(row["accuracy_chance"]):
        axes.axhline(100 * row["accuracy_chance"], color=GREY, linewidth=0.8, linestyle=":")
    ends = [(p.mean if p.low is None else p.low, p.mean if p.high is None else p.high) for p in points]
    across = range(len(points))
    axes.fill_between(
        across, [100 * low for low, _ in ends], [100 * high for _, high in ends], color=style.color, alpha=0.2, lw=0
    )
    axes.plot(
        across, [100 * point.mean for point in points], color=style.color, marker="o", markersize=3, linewidth=1.4
    )
    bare(axes)
    axes.set_ylim(-3, 104)
    axes.set_yticks([0, 50, 100])
    axes.set_xlim(-0.3, len(points) - 0.7)
    axes.set_xticks(list(across), [str(point.value) for point in points])


def _legend(rows: pd.DataFrame) -> Sequence[Line2D]:
    lines = [
        Line2D([], [], color="black", marker="o", markersize=3, linewidth=1.4, label="mean, 95 % interval over seeds")
    ]
    if rows["accuracy_ceiling"].map(lambda text: isinstance(text, str)).any():
        lines.append(Line2D([], [], color=GREY, linestyle="--", linewidth=1, label="the most that its reach allows"))
    return [*lines, Line2D([], [], color=GREY, linestyle=":", linewidth=0.8, label="guessing")]
