"""Figures laid out in inches, and how large a text is once drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from attnbench.report.palette import Style

GREY = "#595959"
SMALL = 9.0
"""Points of the text beside lines and in legends: 7 pixels high in a plot shown at half its size."""
TICK_SIZE = 9.5
MARKER_SIZE = 6.0
_LEFT, _TOP, _BOTTOM, _LINE = 0.95, 0.34, 0.62, 0.19
_CHARACTER = 0.075
"""Inches that a character of small text takes, generously."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotGrid:
    """A figure with one axes, whose margins are known in inches."""

    figure: Figure
    axes: Axes


def sheet(
    title: str,
    subtitle: str,
    *,
    width: float,
    height: float,
    left: float = _LEFT,
    right: float,
    above: float = 0,
    below: float = _BOTTOM,
) -> PlotGrid:
    """Return a figure with an axes of a size, in inches, and a heading.

    Args:
        title: In bold, flush left.
        subtitle: Under it, in as many lines as it takes.
        width: Of the axes.
        height: Of the axes.
        left: Margin for ticks and their labels.
        right: Margin for labels.
        above: Room between heading and axes.
        below: Margin for ticks, their labels and that of the axis.
    """
    across = left + width + right
    lines = textwrap.wrap(subtitle, int((across - 0.24) / _CHARACTER))
    top = _TOP + _LINE * len(lines) + 0.1 + above
    down = below + height + top
    figure = Figure(figsize=(across, down))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / across, below / down, width / across, height / down))
    figure.text(0.12 / across, 1 - 0.1 / down, title, weight="bold", size=11.5, va="top")
    figure.text(0.12 / across, 1 - _TOP / down, "\n".join(lines), color=GREY, size=SMALL, va="top")
    return PlotGrid(figure=figure, axes=axes)


def text_width(texts: Iterable[str], *, size: float = SMALL) -> float:
    """Return the width of the widest of some texts, in inches."""
    return max([_width(text, size) for text in texts], default=0.0)


@lru_cache(maxsize=4096)
def _width(text: str, size: float) -> float:
    figure = Figure()
    FigureCanvasAgg(figure)
    return box_of(figure.text(0, 0, text, size=size)).width / figure.dpi


def box_of(text: Text) -> Bbox:
    """Return the box that a text fills, in pixels of its figure."""
    figure = text.get_figure(root=True)
    assert figure is not None
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    return text.get_window_extent(canvas.get_renderer())  # type: ignore[no-untyped-call]


def handle(label: str, style: Style, *, line: bool = True) -> Line2D:
    """Return a line with markers in a style: what is plotted, and what a legend shows."""
    return Line2D(
        [],
        [],
        label=label,
        color=style.color,
        marker=style.marker,
        markersize=MARKER_SIZE,
        markerfacecolor=style.color if style.filled else "white",
        markeredgecolor=style.color,
        markeredgewidth=1.2,
        linewidth=1.6 if line else 0,
        linestyle=(0, style.dash) if style.dash else "solid",
    )


def bare(axes: Axes) -> None:
    """Leave of the frame only the two sides that carry ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.minorticks_off()


def cross_out(axes: Axes, across: Sequence[float], up: Sequence[float]) -> None:
    """Cross out points that are not ranked: something speaks against their values."""
    axes.plot(across, up, "x", color="black", markersize=MARKER_SIZE + 4, markeredgewidth=1.3, zorder=5)
