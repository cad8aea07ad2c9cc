"""How figures look and are written: the same bytes for the same rows on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.text import Text

from attnbench import files, inert
from attnbench.report.plots.canvas import TICK_SIZE

DPI = 200
_SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": TICK_SIZE,
    "ytick.labelsize": TICK_SIZE,
    "axes.linewidth": 0.8,
    "text.parse_math": False,
    "svg.hashsalt": "attnbench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
}
"""The font comes with matplotlib, so a plot is the same on any machine. Names are no formulas, whatever is in them."""


@contextmanager
def own_settings() -> Iterator[None]:
    """Set matplotlib up for our plots, whatever the caller's settings are, and leave those as they were."""
    with style.context("default"), sns.axes_style("ticks"), sns.plotting_context("paper"):
        mpl.rcParams.update(_SETTINGS)
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for text in figure.findobj(Text):
        text.set_text(inert.shown(text.get_text()))
    saved = []
    with own_settings():
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
            saved.append(folder / f"{name}{suffix}")
            content = BytesIO()
            figure.savefig(content, format=suffix[1:], dpi=DPI, metadata=metadata)
            files.put(saved[-1], content.getvalue())
    return saved
