"""Figures that go into a paper as they are: a quantity against resolution, of a width, with the names that it uses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text as MplText

from attnbench import files, inert
from attnbench.errors import UsageError, did_you_mean
from attnbench.metrics import METRICS, Form, Needs
from attnbench.report.comparison import COUNTED, resolution, split, varying
from attnbench.report.palette import built_in, styles, who
from attnbench.report.placement import binary_ticks, log_ticks
from attnbench.report.plots import file_name
from attnbench.report.plots.across import pixels_of
from attnbench.report.plots.series import Series, axis_label, gather, unit_of

FIGURES: Mapping[str, str] = {
    metric.plot.name: name for name, metric in METRICS.items() if metric.plot and not metric.plot.against
}
"""What can be drawn, by the word for it on the command line."""
STYLES = ("paper", "talk")
_ASPECT = 0.72
_WIDTH = re.compile(r"([0-9]*\.?[0-9]+)(in|cm|mm)")
_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_NARROWEST_IN, _WIDEST_IN = 1.0, 20.0
_SETTINGS: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "attnbench",
    "svg.fonttype": "path",
}
"""The fonts come with matplotlib, and text in a PDF stays text, as publishers ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFigure:
    """What a figure is to be like."""

    name: str
    """One of ``FIGURES``."""
    width_in: float = 3.25
    """Inches, of the whole figure: a column of most two-column papers."""
    style: str = "paper"
    """One of ``STYLES``: the sizes of text and lines."""
    only: tuple[str, ...] = ()
    """Labels or mechanisms, in the order of the legend; empty for all."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the paper calls them."""


def read(wanted: Mapping[str, Any], rows: pd.DataFrame) -> PaperFigure:
    """Return what a figure is to be like, from options as they are written.

    Args:
        wanted: ``name``, and those that are given of ``style``, ``width``, ``only`` and ``labels``, each ``NAME=TEXT``.
        rows: prepared, whose labels and mechanisms can be named.

    Raises:
        UsageError: something in it is none.
    """
    known = {*rows["label"], *rows["mechanism"].dropna(), *rows["network"].dropna()}
    mistakes = [
        f"--{option} {given}: {did_you_mean(given, choices)}"
        for option, given, choices in (
            ("figure", wanted["name"], FIGURES),
            ("style", wanted.get("style", "paper"), STYLES),
            *(("only", name, known) for name in wanted.get("only", ())),
        )
        if given not in choices
    ]
    called = dict(text.rpartition("=")[::2] for text in wanted.get("labels", ()))
    mistakes += [f"--label {name or '?'}={text}: {did_you_mean(name, known)}" for name, text in called.items()
                 if name not in known]  # fmt: skip
    width = _WIDTH.fullmatch(wanted.get("width", "3.25in"))
    inches = float(width[1]) * _INCHES[width[2]] if width else 0.0
    if not _NARROWEST_IN <= inches <= _WIDEST_IN:
        mistakes.append(f"--width {wanted.get('width')}: expected 3.25in, 8cm or 80mm, from 1 to 20 inches")
    if mistakes:
        raise UsageError(*mistakes)
    given = {name: wanted[name] for name in ("name", "style", "only") if name in wanted}
    return PaperFigure(**given, width_in=inches, labels=called)


def draw(rows: pd.DataFrame, wanted: PaperFigure, folder: Path) -> list[Path]:
    """Draw a figure for each set of conditions, as PDF and SVG, and as PGF where there is LaTeX; return the files.

    Args:
        rows: prepared.
        wanted: what is drawn.
        folder: where the files go; made if it is not there.

    Raises:
        OSError: a file cannot be written.
    """
    metric = FIGURES[wanted.name]
    looks = styles(who(rows), first=built_in())
    axes = [axis for axis in varying(rows) if METRICS[metric].needs is not Needs.COUNTS or axis in COUNTED]
    written: list[Path] = []
    for conditions, part in split(rows, of=rows, axes=axes or ["mode"]):
        series = _chosen(gather(part, metric, looks), part, wanted)
        if any(len(each.points) > 1 for each in series):
            with _settings(wanted):
                figure = _figure(series, metric, wanted)
                written += _save(figure, folder, file_name(wanted.name, *conditions))
    return written


def _chosen(series: Sequence[Series], rows: pd.DataFrame, wanted: PaperFigure) -> list[Series]:
    if not wanted.only:
        return [each for each in series if each.points]
    whose = dict(zip(rows["label"], rows["network"].fillna(rows["mechanism"]), strict=True))
    ranks = {name: rank for rank, name in enumerate(wanted.only)}
    found = {each.label: ranks.get(each.label, ranks.get(str(whose[each.label]), -1)) for each in series if each.points}
    return sorted((each for each in series if found.get(each.label, -1) >= 0), key=lambda each: found[each.label])


@contextmanager
def _settings(wanted: PaperFigure) -> Iterator[None]:
    with style.context("default"), sns.axes_style("ticks"), sns.plotting_context(wanted.style, font_scale=0.9):
        mpl.rcParams.update(_SETTINGS)
        yield


def _figure(series: Sequence[Series], metric: str, wanted: PaperFigure) -> Figure:
    unit = unit_of(list(series), metric)
    names = {each.label: inert.shown(wanted.labels.get(each.label, each.label)) for each in series}
    points = [
        {"label": names[each.label], "side": pixels_of(point.size) ** 0.5, "value": point.value / unit.size}
        for each in series
        for point in each.points
    ]
    figure = Figure(figsize=(wanted.width_in, _ASPECT * wanted.width_in), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    sns.lineplot(
        pd.DataFrame(points),
        x="side",
        y="value",
        hue="label",
        style="label",
        palette={names[each.label]: each.style.color for each in series},
        markers={names[each.label]: each.style.marker for each in series},
        dashes={names[each.label]: each.style.dash or "" for each in series},
        estimator=None,
        markersize=4.5,
        ax=axes,
    )
    for each in series:
        across = [pixels_of(point.size) ** 0.5 for point in each.points]
        ends = ([point.low / unit.size for point in each.points], [point.high / unit.size for point in each.points])
        axes.fill_between(across, *ends, color=each.style.color, alpha=0.18, linewidth=0)
    _scales(axes, series, metric, axis_label(metric, unit))
    return figure


def _scales(axes: Axes, series: Sequence[Series], metric: str, label: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="resolution (pixels a side)", ylabel=label)
    axes.minorticks_off()
    sizes = sorted({point.size for each in series for point in each.points}, key=pixels_of)
    axes.set_xticks([pixels_of(size) ** 0.5 for size in sizes], labels=[resolution(*size) for size in sizes])
    round_numbers = binary_ticks if METRICS[metric].form is Form.BINARY else log_ticks
    ticks = round_numbers(*axes.get_ylim())
    axes.set_yticks(ticks, labels=[f"{tick:.10g}" for tick in ticks])
    axes.legend(title=None, frameon=False).set_in_layout(False)  # long names must not squeeze the axes to nothing
    sns.despine(ax=axes)


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, dict[str, Any]] = {
        "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
        "svg": {"metadata": {"Date": None, "Creator": None}},
    }
    system = next(filter(shutil.which, ("xelatex", "pdflatex")), "")
    if system:
        mpl.rcParams.update({"pgf.texsystem": system, "pgf.rcfonts": False})  # the fonts of the paper
        kinds["pgf"] = {}
    written = []
    for kind, asked in kinds.items():
        if kind == "pgf":  # the last of them: LaTeX obeys what stands in a text
            for text in figure.findobj(MplText):
                text.set_text(inert.latex(text.get_text()))
        content = BytesIO()
        figure.savefig(content, format=kind, **asked)
        written.append(folder / f"{name}.{kind}")
        files.put(written[-1], content.getvalue())
    return written
