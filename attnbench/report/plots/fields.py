"""Effective receptive fields side by side: a row of panels a network, a panel a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy import ndarray

from attnbench.report.plots.canvas import GREY, SMALL, text_width

Panel = tuple[Float64[ndarray, "height width"], tuple[float, float], float]
"""The influence of pixels, where the token's middle lies (row, column), and the side of the window, in pixels."""

_SIDE, _GAP, _ABOVE, _BELOW = 1.15, 0.1, 0.78, 0.72
_LEAST = 1e-4
"""Of the largest influence in a panel: what is less is white."""


def fields(panels: Mapping[str, Sequence[Panel]], subtitle: str) -> Figure:
    """Return the picture.

    Args:
        panels: of each network by its name, one a stage, at least one of all.
        subtitle: what was averaged, and what the frames are.
    """
    stages = max(len(each) for each in panels.values())
    left = 0.3 + text_width(panels)
    width = max(5.6, left + stages * (_SIDE + _GAP) + 0.2)
    height = _ABOVE + len(panels) * (_SIDE + _GAP) + _BELOW
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    title = "Effective receptive field of the token in the middle"
    figure.text(0.12 / width, 1 - 0.1 / height, title, weight="bold", size=11.5, va="top")
    figure.text(0.12 / width, 1 - 0.34 / height, subtitle, color=GREY, size=SMALL, va="top")
    image = None
    for line, (name, each) in enumerate(panels.items()):
        down = height - _ABOVE - (line + 1) * (_SIDE + _GAP)
        figure.text(0.12 / width, (down + _SIDE / 2) / height, name, size=SMALL, va="center")
        for stage, panel in enumerate(each):
            across = left + stage * (_SIDE + _GAP)
            axes = figure.add_axes((across / width, down / height, _SIDE / width, _SIDE / height))
            image = _draw(axes, panel)
            if line == 0:
                axes.set_title(f"stage {stage + 1}", size=SMALL, pad=4)
    if image is not None:
        bar = figure.add_axes((left / width, 0.5 / height, min(2.4, width - left - 0.4) / width, 0.1 / height))
        figure.colorbar(image, cax=bar, orientation="horizontal", label="of the largest in its panel")
        bar.tick_params(labelsize=7)
        bar.xaxis.label.set_fontsize(8)
    return figure


def _draw(axes: Axes, panel: Panel) -> AxesImage:
    sizes, (row, column), side = panel
    height, width = sizes.shape
    shown = np.maximum(sizes / sizes.max(), _LEAST)
    image = axes.imshow(
        shown, cmap="Blues", norm=LogNorm(_LEAST, 1.0), extent=(0, width, height, 0), interpolation="nearest"
    )
    corner = (column - side / 2, row - side / 2)
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="#D55E00", linewidth=0.9))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    return image
