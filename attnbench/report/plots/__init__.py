"""Plots of a frame: cost against resolution, or side by side at one resolution, accuracy against latency or a task.

Only this package imports matplotlib and seaborn. It never touches pyplot: every figure has a canvas of its own, and
the settings of matplotlib are as they were when it returns.
"""

from __future__ import annotations

from attnbench.report.plots import backend  # noqa: F401 - before anything else of matplotlib

# isort: split
import re
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from attnbench.metrics import METRICS, Needs, drawn, is_number
from attnbench.report.artefacts import Apart, together
from attnbench.report.comparison import COUNTED, MACHINE, constants, counted, sizes, split, varying
from attnbench.report.crossover import against_baseline, baseline_of
from attnbench.report.palette import Style, built_in, styles, who
from attnbench.report.plots.along import along, tasks_of
from attnbench.report.plots.curves import Meeting, curves
from attnbench.report.plots.dots import dots
from attnbench.report.plots.hardware import panels
from attnbench.report.plots.saving import own_settings, save
from attnbench.report.plots.series import COINCIDING, coinciding, crossed_out, foremost, gather, have_intervals
from attnbench.report.plots.tradeoff import SCORES, kinds_of_score, tradeoff
from attnbench.report.selection import drawn_of

_LATENCY = "latency_median_s"
_LONGEST_NAME = 160
"""Characters of a file's name: file systems take 255 bytes with the ending."""


def draw(rows: pd.DataFrame, folder: Path, *, apart: Apart = together) -> list[Path]:
    """Draw what the rows hold, as PNG and SVG, and return the files. The same rows give the same bytes.

    Of more than ``selection.MOST_PLOTS`` sets of conditions only a few are drawn.

    Args:
        rows: One per cost cell, prepared.
        folder: Where the files go; made if it is not there.
        apart: What each of them is made in.
    """
    return saved(figures(rows, apart=apart), folder, apart=apart)


def saved(found: Iterable[tuple[str, Figure]], folder: Path, *, apart: Apart) -> list[Path]:
    """Write figures by the names of their files, each apart, and return the files."""
    written: list[Path] = []
    for name, figure in found:
        with apart(f"{folder / name}.png"):
            written += save(figure, folder, name)
    return written


def figures(rows: pd.DataFrame, *, apart: Apart = together) -> Iterator[tuple[str, Figure]]:
    """Yield every figure with the name of its file, which says what tells it from the others."""
    looks = styles(who(rows), first=built_in())
    found: list[tuple[str, Figure]] = []
    with own_settings():
        found += _costs(rows, looks, apart)
        found += _machine_by_machine(rows, looks, apart)
        with apart("the plot of accuracy against latency"):
            found += _tradeoffs(rows, looks)
        with apart("the plot of accuracy along a task"):
            found += [(file_name("task", dataset), along(part, looks)) for dataset, part in tasks_of(rows)]
    yield from distinct(found)


def _costs(rows: pd.DataFrame, looks: dict[str, Style], apart: Apart) -> Iterator[tuple[str, Figure]]:
    measured = [(metric, parts) for parts in [drawn_of(split(rows, of=rows))] for metric in drawn(counted=False)]
    of_counts = [(metric, parts) for parts in [drawn_of(counted(rows))] for metric in drawn(counted=True)]
    for metric, parts in [*measured, *of_counts]:
        for conditions, part in parts:
            figure, name = None, file_name(_name(metric), *conditions)
            with apart(f"the plot {name}"):
                figure = _cost(metric, part, looks)
            if figure is not None:
                yield name, figure


def _cost(metric: str, part: pd.DataFrame, looks: dict[str, Style]) -> Figure | None:
    """Return the plot of a quantity, None if there is nothing to show."""
    everyone = gather(part, metric, looks)
    series = foremost(everyone, baseline_of(part))
    if not any(each.points for each in series):
        return None
    subtitle = ", ".join(constants(part, COUNTED) if METRICS[metric].needs is Needs.COUNTS else constants(part))
    if len(series) < len(everyone):
        subtitle += f"; the {len(series)} lowest of {len(everyone)}"
    crossed = crossed_out(each.label for each in series if each.doubted)
    if len(sizes(part)) == 1:
        subtitle = "; ".join([subtitle, *crossed])
        return dots(series, metric, sizes(part), subtitle)
    shown = {each.label for each in series}
    meetings = [meeting for meeting in _meetings(part, metric) if meeting.label in shown]
    said = [f"rings: crossings with {meetings[0].other}"] if meetings else []
    whose = "networks" if part["network"].notna().all() else "mechanisms"
    said += [f"{whose} side by side at each resolution"] if len(series) > 1 and have_intervals(series) else []
    alike = [] if METRICS[metric].ends else coinciding(series)
    said += [f"equal within {100 * COINCIDING:g} %: {', '.join(labels)}" for labels in alike]
    subtitle = "; ".join([subtitle, *said, *crossed])
    return curves(series, metric, sizes(part), subtitle, baseline=baseline_of(part), meetings=meetings)


def _machine_by_machine(rows: pd.DataFrame, looks: dict[str, Style], apart: Apart) -> Iterator[tuple[str, Figure]]:
    """Yield latencies on several machines side by side, a figure for each set of the other conditions."""
    if rows["machine"].nunique() < 2:
        return
    changing = varying(rows)
    places = [axis for axis in changing if axis in MACHINE]
    others = [axis for axis in changing if axis not in places]
    for conditions, part in drawn_of(split(rows, of=rows, axes=others)):
        figure, name = None, file_name(_name(_LATENCY), "machine-by-machine", *conditions)
        with apart(f"the plot {name}"):
            found = {
                ", ".join(place): foremost(gather(here, _LATENCY, looks), baseline_of(here))
                for place, here in split(part, of=rows, axes=places)
            }
            figure = panels(found, _LATENCY, sizes(part), ", ".join(constants(part)))
        if figure is not None:
            yield name, figure


def _meetings(part: pd.DataFrame, metric: str) -> list[Meeting]:
    """Return where mechanisms certainly cross the baseline."""
    return [
        Meeting(label=each.first, other=each.second, crossing=crossing)
        for each in against_baseline(part, metric)
        for crossing in each.certain
    ]


def _tradeoffs(rows: pd.DataFrame, looks: dict[str, Style]) -> Iterator[tuple[str, Figure]]:
    scored = [score for score in SCORES if rows[score].map(is_number).any()]
    if not scored:
        return
    parts = [
        (conditions, size, part[(part["res_height"] == size[0]) & (part["res_width"] == size[1])])
        for conditions, part in drawn_of(split(rows, of=rows))
        for size in sizes(part)
    ]
    several = len(sizes(rows)) > 1
    for conditions, size, part in drawn_of(parts):
        place = ("x".join(map(str, dict.fromkeys(size))),) if several else ()
        for score in scored:
            for kind, same in kinds_of_score(part, score):
                figure = tradeoff(score, same, looks, size, ", ".join(constants(part)), everyone=part)
                if figure is not None:
                    yield file_name(_name(score), *kind, *place, *conditions), figure


def _name(metric: str) -> str:
    """Return the first part of a file's name."""
    plot = METRICS[metric].plot
    return plot.name if plot else metric


def file_name(*parts: str) -> str:
    """Return a file's name that says what its parts say, as far as Latin letters and a file system's limit allow."""
    words = (re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-.") for part in parts)
    return "-".join(filter(None, words))[:_LONGEST_NAME]


def distinct(found: Iterable[tuple[str, Figure]]) -> Iterator[tuple[str, Figure]]:
    """Yield figures under names of their own, those whose names others have with a number: no file replaces another."""
    given: set[str] = set()
    for name, figure in found:
        numbered = (f"{name}-{number}" for number in count(2))
        own = next(one for one in chain([name], numbered) if one not in given)
        given.add(own)
        yield own, figure
