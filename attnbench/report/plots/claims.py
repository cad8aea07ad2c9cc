"""Plots of claims whose figure varies along an option: a panel for each site and metric, a line for each other side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from attnbench.claims.answer import Figure as Measured
from attnbench.claims.verdict import Judgement
from attnbench.errors import StoreError
from attnbench.metrics import METRICS
from attnbench.plan.sweep import written
from attnbench.report.claims import tokens
from attnbench.report.palette import Style, styles
from attnbench.report.plots.canvas import GREY, SMALL, bare, handle
from attnbench.report.plots.saving import own_settings, save

_PANEL = (2.5, 2.0)
"""Inches of a panel, across and down."""
_MARGINS = {"left": 0.75, "right": 0.2, "top": 0.5, "bottom": 0.85, "across": 0.35, "down": 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panels:
    """What one figure shows: a row of panels for each metric, a column for each site."""

    rows: pd.DataFrame
    along: str

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(self.rows["metric"]))

    @property
    def sites(self) -> list[str]:
        return list(dict.fromkeys(self.rows["site"]))

    @property
    def looks(self) -> dict[str, Style]:
        labels = dict.fromkeys(zip(self.rows["over_name"], self.rows["over"], strict=True))
        return styles(labels)


def draw(judgements: Sequence[Judgement], folder: Path) -> list[Path]:
    """Draw every plot that claims name, one for inference and one for training, as PNG and SVG.

    Args:
        judgements: claims with what was measured of them.
        folder: where the files go; made if it is not there.

    Raises:
        StoreError: the folder cannot be written.
    """
    files: list[Path] = []
    try:
        for name, title, panels in _plots(judgements):
            with own_settings():
                files += save(_figure(title, panels), folder, name)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}; give another folder") from None
    return files


def _plots(judgements: Sequence[Judgement]) -> Iterator[tuple[str, str, _Panels]]:
    for plot in dict.fromkeys(one.claim.plot for one in judgements if one.claim.plot):
        mine = [one for one in judgements if one.claim.plot == plot and one.answer and one.claim.check]
        found = pd.DataFrame([row for one in mine for row in _rows(one)])
        if found.empty:
            continue
        found = found.drop_duplicates(["metric", "of", "over", "site", "mode", "at"])
        along = next(one.claim.check.along for one in mine if one.claim.check)
        for mode, part in found.groupby("mode", sort=False):
            sides = ", ".join(dict.fromkeys(part["of_name"]))
            yield f"{plot}-{mode}", f"What others take over what {sides} takes, {mode}", _Panels(rows=part, along=along)


def _rows(one: Judgement) -> Iterator[dict[str, object]]:
    """Yield a row for each figure: what the check's first side costs over its second, whose claim it is."""
    assert one.answer is not None
    assert one.claim.check is not None
    for figure in one.answer.figures:
        yield {"metric": one.claim.check.metric, **_row(figure, one.claim.check.along)}


def _row(figure: Measured, along: str) -> dict[str, object]:
    # A check that says how much dearer others are names them first.
    others, own = figure.point.of, figure.point.over
    assert own is not None
    options = {name: value for name, value in others.options.items() if name != along}
    return {
        "of_name": own.mechanism,
        "of": written(own.mechanism, own.options),
        "over_name": others.mechanism,
        "over": written(others.mechanism, {name: value for name, value in options.items() if name == "backend"}),
        "site": f"{tokens(others)} tokens, C {others.dim}",
        "mode": others.mode.value,
        "at": float(figure.point.at),
        "value": figure.estimate.value,
        "low": figure.estimate.low,
        "high": figure.estimate.high,
    }


def _figure(title: str, panels: _Panels) -> Figure:
    across = _MARGINS["left"] + _MARGINS["right"] + len(panels.sites) * (_PANEL[0] + _MARGINS["across"])
    down = _MARGINS["top"] + _MARGINS["bottom"] + len(panels.metrics) * (_PANEL[1] + _MARGINS["down"])
    figure = Figure(figsize=(across, down))
    FigureCanvasAgg(figure)
    figure.text(0.12 / across, 1 - 0.1 / down, title, weight="bold", size=11.5, va="top")
    for row, metric in enumerate(panels.metrics):
        axes: Axes | None = None
        for column, site in enumerate(panels.sites):
            left = _MARGINS["left"] + column * (_PANEL[0] + _MARGINS["across"])
            bottom = _MARGINS["bottom"] + (len(panels.metrics) - 1 - row) * (_PANEL[1] + _MARGINS["down"])
            box = (left / across, bottom / down, _PANEL[0] / across, _PANEL[1] / down)
            axes = figure.add_axes(box, sharey=axes)
            _panel(axes, panels, metric, site)
            _label(axes, panels, (row, column))
    handles = [handle(label, look) for label, look in panels.looks.items()]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=SMALL)
    return figure


def _panel(axes: Axes, panels: _Panels, metric: str, site: str) -> None:
    rows = panels.rows
    here = rows[(rows["metric"] == metric) & (rows["site"] == site)]
    for label, look in panels.looks.items():
        line = here[here["over"] == label].sort_values("at")
        shape = handle(label, look)
        axes.plot(
            line["at"], line["value"], color=look.color, marker=look.marker, markersize=4.5,
            markerfacecolor=shape.get_markerfacecolor(), linewidth=1.4, linestyle=shape.get_linestyle(),
        )  # fmt: skip
        axes.vlines(line["at"], line["low"], line["high"], color=look.color, linewidth=1.4)
    axes.axhline(1, color=GREY, linewidth=0.8, zorder=0)
    axes.set_yscale("log")
    axes.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    low, high = rows.loc[rows["metric"] == metric, "low"].min(), rows.loc[rows["metric"] == metric, "high"].max()
    axes.set_ylim(min(low, 1) / 1.15, max(high, 1) * 1.15)
    axes.set_xticks(sorted(rows["at"].unique()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bare(axes)


def _label(axes: Axes, panels: _Panels, place: tuple[int, int]) -> None:
    """Write what a panel shows once for each row and column of panels."""
    row, column = place
    if row == 0:
        axes.set_title(panels.sites[column], size=SMALL, color=GREY, loc="left")
    last = row == len(panels.metrics) - 1
    axes.tick_params(labelleft=column == 0, labelbottom=last)
    if last:
        axes.set_xlabel(panels.along, size=SMALL)
    if column == 0:
        axes.set_ylabel(f"{METRICS[panels.metrics[row]].label}, times")
