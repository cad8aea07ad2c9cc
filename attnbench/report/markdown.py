"""``report.md``: what was run, where, what came out, what failed and why, and how to run it again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from attnbench import inert
from attnbench.metrics import COLUMNS, METRICS, Better, Metric, format_interval, is_number
from attnbench.report.comparison import AXES, resolution, sizes, split, varying
from attnbench.report.environments import Lines
from attnbench.report.findings import Findings
from attnbench.report.selection import EXAMPLES, MOST_OF_ALL_PAIRS, MOST_PLOTS
from attnbench.report.sheet import Book, Entry, Line, Sheet
from attnbench.report.standings import standings

NOT_MEASURED = "–"  # noqa: RUF001 - an en dash is what typesetters put into an empty cell
_ABOUT_CROSSOVERS = (
    "At which side of a square image, in pixels, one overtakes the other, read between neighbouring resolutions on "
    "logarithmic axes. [ ]: what the 95 % intervals of the latencies leave open. ( ): the resolutions measured on "
    "either side, of figures that are exact. May: who leads is not certain at that end of the sweep. Against the "
    "baseline all are listed, of the other pairs those that cross in one of the columns; every pair is in "
    f"`crossovers.csv`, of up to {MOST_OF_ALL_PAIRS} mechanisms."
)
_PLACES = ("device", "machine", "threads", "run_id")
_TIMED = "latency_median_s"
_DIRECTIONS = {Better.LOWER: "lower is better", Better.HIGHER: "higher is better", Better.NEITHER: ""}


def write_report(
    findings: Findings,
    path: Path,
    *,
    command: str,
    plots: Iterable[Path] = (),
    missing: Sequence[str] = (),
    title: str = "Attention mechanisms, measured",
) -> None:
    """Write the report of rows.

    Args:
        findings: Rows with what was worked out from them.
        path: The Markdown file; plots are linked relative to its folder.
        command: What to type to get these records again.
        plots: Files that ``plots.draw`` returned.
        missing: Cells that were asked for and have no row, in words.
        title: First heading.
    """
    rows, pages = findings.rows, findings.book
    sections = (
        f"# {inert.markdown(title)}",
        *_what_was_run(rows, pages),
        *_machines(findings.environments),
        *_results(pages, findings.accuracy),
        *_side_by_side(rows),
        *_crossovers(findings),
        *_notes(pages),
        *_failures(pages),
        *_missing(missing),
        *_pictures(plots, path.parent, len(split(rows, of=rows))),
        *_meanings(rows, pages),
        *_again(command),
    )
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _what_was_run(rows: pd.DataFrame, pages: Book) -> Iterator[str]:
    yield "## What was run"
    statuses = rows["status"].value_counts(sort=False)
    said = {
        "Mechanisms": ", ".join(dict.fromkeys(rows["label"])),
        "Resolutions (pixels)": ", ".join(resolution(*size) for size in sizes(rows)),
        "The same for all rows": ", ".join(pages.constants),
        "Cells": ", ".join(f"{count} {status}" for status, count in statuses.items()),
        "Runs": _listed(rows["run_id"]),
        "attnbench": _listed(rows["attnbench_version"]),
        "torch": _listed(rows["torch_version"]),
    }
    yield "\n".join(f"- {name}: {inert.markdown(value)}" for name, value in said.items() if value)


def _machines(environments: Mapping[str, Lines]) -> Iterator[str]:
    yield "## Machine and software"
    if not environments:
        yield "No environment was recorded."
    for name, facts in environments.items():
        if len(environments) > 1:
            yield f"### {inert.markdown(name)}"
        yield _table(("", ""), [(inert.markdown(fact), inert.markdown(value)) for fact, value in facts], numbers_from=2)


def _results(pages: Book, kind: str) -> Iterator[str]:
    yield "## Results"
    if not pages.sheets:
        yield "Nothing was recorded."
        return
    yield (
        "Bold: best of its table, or its interval overlaps the best's; only cells that ended ok are ranked. "
        "Brackets: 95 % intervals."
    )
    if kind:
        yield f"Accuracy: {inert.markdown(kind)}."
    for sheet in pages.sheets:
        yield f"### {inert.markdown(sheet.title[:1].upper() + sheet.title[1:])}"
        yield _sheet(sheet)


def _sheet(sheet: Sheet) -> str:
    headings = [_heading(metric, *heading) for metric, heading in sheet.headings.items()]
    metrics = list(sheet.headings)
    if any(line.failure and len(line.entries) == len(metrics) for line in sheet.lines):
        headings, metrics = [*headings, "status"], [*metrics, "status"]
    body = [(_name(line), *(_cell(line, metric) for metric in _with_failure(metrics, line))) for line in sheet.lines]
    return _table(("mechanism", *map(inert.markdown, headings)), body)


def _heading(metric: str, heading: str, unit: str) -> str:
    if METRICS[metric].ratio_of:
        return f"{heading} {unit}"
    return f"{heading} ({unit})" if unit else heading


def _with_failure(metrics: Iterable[str], line: Line) -> list[str]:
    """Return the metrics of a line, an empty name instead of the first unmeasured one where the failure is told."""
    names = list(metrics)
    free = [place for place, metric in enumerate(names) if metric not in line.entries]
    if line.failure and free:
        names[free[0]] = ""
    return names


def _cell(line: Line, metric: str) -> str:
    if not metric:
        return f"**{inert.markdown(line.failure.partition(':')[0])}**"
    entry = line.entries.get(metric)
    return _number(entry) if entry else NOT_MEASURED


def _number(entry: Entry) -> str:
    value = f"**{entry.value}**" if entry.best else entry.value
    return f"{value} {entry.interval}".rstrip()


def _name(line: Line) -> str:
    notes = ",".join(map(str, line.notes))
    return f"{inert.markdown(line.name)} <sup>{notes}</sup>" if notes else inert.markdown(line.name)


def _side_by_side(rows: pd.DataFrame) -> Iterator[str]:
    """Yield the latencies of several machines or runs beside each other."""
    places = varying(rows, _PLACES)
    if not {"machine", "run_id"}.intersection(places):
        return
    yield "## Machines and runs side by side"
    yield (
        "Latency with its 95 % interval. Read down a column: figures of different columns were not timed against "
        "each other, so no ratio is taken between them."
    )
    axes = [axis for axis in AXES if axis not in _PLACES]
    for height, width in sizes(rows):
        sized = rows[(rows["res_height"] == height) & (rows["res_width"] == width)]
        for conditions, part in split(sized, of=rows, axes=axes):
            yield f"### {inert.markdown(', '.join([f'Resolution {resolution(height, width)}', *conditions]))}"
            yield _latencies(part, of=rows, places=places)


def _latencies(part: pd.DataFrame, *, of: pd.DataFrame, places: Sequence[str]) -> str:
    columns = {", ".join(place): found for place, found in split(part, of=of, axes=places)}
    by_label = [dict(list(found.groupby("label", sort=False))) for found in columns.values()]
    body = [
        (inert.markdown(label), *(_latency(found.get(label)) for found in by_label))
        for label in dict.fromkeys(part["label"])
    ]
    return _table(("mechanism", *map(inert.markdown, columns)), body)


def _latency(found: pd.DataFrame | None) -> str:
    told = (
        []
        if found is None
        else [
            format_interval(_TIMED, *(getattr(row, name) for name in (_TIMED, *METRICS[_TIMED].ends)))
            or inert.markdown(str(row.status))
            for row in found.itertuples()
        ]
    )
    return "; ".join(told) or NOT_MEASURED


def _crossovers(findings: Findings) -> Iterator[str]:
    parts = list(standings(findings.crossovers, findings.baselines))
    if parts:
        yield "## Crossovers"
        yield _ABOUT_CROSSOVERS
    for part in parts:
        if part.conditions:
            said = ", ".join(part.conditions)
            yield f"### {inert.markdown(said[:1].upper() + said[1:])}"
        if part.body:
            body = [[inert.markdown(cell) or NOT_MEASURED for cell in line] for line in part.body]
            yield _table([*map(inert.markdown, part.headings)], body, numbers_from=len(part.headings))
        if part.unlisted:
            yield f"Pairs that cross in none of these: {part.unlisted}."


def _notes(pages: Book) -> Iterator[str]:
    if pages.notes:
        yield "## Notes"
        yield "\n".join(f"{number}. {inert.markdown(note)}" for number, note in enumerate(pages.notes, start=1))


def _failures(pages: Book) -> Iterator[str]:
    failed = [(sheet, line) for sheet in pages.sheets for line in sheet.lines if line.failure]
    if not failed:
        return
    yield "## What did not run"
    body = []
    for sheet, line in failed:
        status, _, reason = line.failure.partition(": ")
        body.append(
            (
                inert.markdown(line.name),
                inert.markdown(sheet.title.removeprefix("resolution ")),
                status,
                inert.markdown(reason),
            )
        )
    yield _table(("mechanism", "resolution", "status", "reason"), body, numbers_from=4)


def _missing(cells: Sequence[str]) -> Iterator[str]:
    if cells:
        yield "## What was asked for and not reached"
        yield "\n".join(f"- {inert.markdown(cell)}" for cell in cells)


def _pictures(plots: Iterable[Path], folder: Path, conditions: int) -> Iterator[str]:
    pictures = [plot for plot in plots if plot.suffix == ".png"]
    if pictures:
        yield "## Plots"
    if pictures and conditions > MOST_PLOTS:
        yield f"The first {EXAMPLES} of {conditions} sets of conditions; the report of a run with fewer draws them all."
    for plot in pictures:
        link = Path(os.path.relpath(plot, folder)).as_posix().replace(" ", "%20")
        yield f"![{inert.markdown(plot.stem.replace('-', ' '))}]({link})"


def _meanings(rows: pd.DataFrame, pages: Book) -> Iterator[str]:
    shown = [metric for metric in COLUMNS if pages.sheets and metric in pages.sheets[0].headings]
    if not shown:
        return
    yield "## What the columns mean"
    yield _table(
        ("column", "in records.csv", "meaning", "unit in records.csv", ""),
        [(inert.markdown(METRICS[name].heading), f"`{name}`", *_meaning(METRICS[name])) for name in shown],
        numbers_from=5,
    )
    if any(map(is_number, rows["macs"])):
        yield "1 MAC is one multiply-add: 2 FLOPs. Norms, softmax and other elementwise work are left out."


def _meaning(metric: Metric) -> tuple[str, str, str]:
    return inert.markdown(metric.label), inert.markdown(metric.unit_in_file), _DIRECTIONS[metric.better]


def _again(command: str) -> Iterator[str]:
    yield "## How to run it again"
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", command)), default=0))
    yield f"{fence}sh\n{inert.shown(command.strip())}\n{fence}"


def _table(headings: Sequence[str], body: Iterable[Sequence[str]], *, numbers_from: int = 1) -> str:
    """Return a table whose columns are flush right from a place on, flush left before it."""
    rules = ["---:" if place >= numbers_from else ":---" for place in range(len(headings))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rules, *body))


def _listed(values: pd.Series[str]) -> str:
    return ", ".join(str(value) for value in values.dropna().unique())
