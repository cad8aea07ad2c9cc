"""How figures look and are written: the same bytes for the same rows on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import style
from matplotlib.figure import Figure

from attnbench.report.plots.canvas import TICK_SIZE

DPI = 200
_INK = ".15"
_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.6,
    "text.color": _INK,
    "grid.color": ".8",
    "legend.fontsize": 8.8,
    "legend.title_fontsize": 9.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.8,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.8,
    **{
        f"{axis}tick.{setting}": value
        for axis in "xy"
        for setting, value in {
            "color": _INK,
            "major.size": 4.8,
            "major.width": 1.0,
            "minor.size": 3.2,
            "minor.width": 0.8,
        }.items()
    },
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
"""After seaborn's styles "ticks" and "paper": to import it takes seconds, for the statistics that come with it.
The font comes with matplotlib, so a plot is the same on any machine. Names are no formulas, whatever is in them."""


@contextmanager
def own_settings() -> Iterator[None]:
    """Set matplotlib up for our plots, whatever the caller's settings are, and leave those as they were."""
    with style.context("default"):
        mpl.rcParams.update(_SETTINGS)
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with own_settings():
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
            files.append(folder / f"{name}{suffix}")
            figure.savefig(files[-1], dpi=DPI, metadata=metadata)
    return files
