"""``report.md``: what was run, what came out, what failed and why, how to run it again, and on what machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from attnbench.metrics import METRICS, Better, Metric, format_interval, is_number
from attnbench.report.comparison import AXES, MACHINE, apart, resolution, sizes, split, varying
from attnbench.report.findings import Findings
from attnbench.report.machines import machines
from attnbench.report.page.blocks import (
    Align,
    Block,
    Book,
    Code,
    Column,
    Heading,
    Listing,
    Page,
    Paragraph,
    Picture,
    Piece,
    Table,
    Tone,
    Words,
)
from attnbench.report.selection import EXAMPLES, MOST_OF_ALL_PAIRS, MOST_PLOTS
from attnbench.report.standings import standings

_NOT_COMPARED = "–"  # noqa: RUF001 - an en dash is what typesetters put into an empty cell
_ABOUT_CROSSOVERS = (
    (
        "At which side of a square image, in pixels, one overtakes the other, read between neighbouring resolutions on "
        "logarithmic axes. [ ]: what the 95 % intervals of the latencies leave open. ( ): the resolutions measured on "
        "either side, of figures that are exact. May: who leads is not certain at that end of the sweep. Against the "
        "baseline all are listed, of the other pairs those that cross in one of the columns; every pair is in "
    ),
    Piece("crossovers.csv", Tone.CODE),
    f", of up to {MOST_OF_ALL_PAIRS} mechanisms.",
)
_PLACES = ("device", "machine", "threads", "run_id")
_TIMED = "latency_median_s"
_DIRECTIONS = {Better.LOWER: "lower is better", Better.HIGHER: "higher is better", Better.NEITHER: ""}


def document(
    findings: Findings,
    *,
    command: str,
    plots: Iterable[Path] = (),
    missing: Sequence[str] = (),
    title: str = "Attention mechanisms, measured",
) -> Page:
    """Return the report of rows: results first, the machine last.

    Args:
        findings: Rows with what was worked out from them.
        command: What to type to get these records again.
        plots: Files that ``plots.draw`` returned.
        missing: Cells that were asked for and have no row, in words.
        title: First heading.
    """
    rows, book = findings.rows, findings.book
    return (
        Heading(text=title, level=1),
        *_what_was_run(rows, findings.constants, findings.selfchecks),
        *_results(book),
        *_side_by_side(rows),
        *_crossovers(findings),
        *_crossovers_by_machine(findings),
        *_failures(book),
        *_missing(missing),
        *_pictures(plots, len(split(rows, of=rows))),
        *_meanings(rows, book),
        Heading(text="How to run it again"),
        Code(text=command, language="sh"),
        *machines(findings.environments),
    )


def _what_was_run(rows: pd.DataFrame, constants: Sequence[str], selfchecks: Sequence[str]) -> Iterator[Block]:
    statuses = rows["status"].value_counts(sort=False)
    said = {
        "Mechanisms": ", ".join(dict.fromkeys(rows["label"])),
        "Resolutions (pixels)": ", ".join(resolution(*size) for size in sizes(rows)),
        "The same for all rows": ", ".join(constants),
        "Cells": ", ".join(f"{count} {status}" for status, count in statuses.items()),
        "Runs": _listed(rows["run_id"]),
        "attnbench": _listed(rows["attnbench_version"]),
        "torch": _listed(rows["torch_version"]),
        "Self-check": "; ".join(selfchecks),
        "Machines that stand out": "; ".join(map(str, dict.fromkeys(rows["machine_remark"].dropna()))),
    }
    yield Heading(text="What was run")
    yield Listing(points=tuple(f"{name}: {value}" for name, value in said.items() if value))


def _results(book: Book) -> Iterator[Block]:
    yield Heading(text="Results")
    yield book if book.sheets else Paragraph("Nothing was recorded.")


def _side_by_side(rows: pd.DataFrame) -> Iterator[Block]:
    """Yield the latencies of several machines or runs beside each other."""
    # By all axes: of a sweep that many workers share each cell has one run, whatever other cells have.
    places = [axis for axis in varying(rows) if axis in _PLACES]
    if not {"machine", "run_id"}.intersection(places):
        return
    yield Heading(text="Machines and runs side by side")
    yield Paragraph(
        "Latency with its 95 % interval. Read down a column: figures of different columns were not timed against "
        "each other, so no ratio is taken between them."
    )
    axes = [axis for axis in AXES if axis not in _PLACES]
    for height, width in sizes(rows):
        sized = rows[(rows["res_height"] == height) & (rows["res_width"] == width)]
        for conditions, part in split(sized, of=rows, axes=axes):
            yield Heading(text=", ".join([f"Resolution {resolution(height, width)}", *conditions]), level=3)
            yield _latencies(part, of=rows, places=places)


def _latencies(part: pd.DataFrame, *, of: pd.DataFrame, places: Sequence[str]) -> Table:
    columns = {", ".join(place): found for place, found in split(part, of=of, axes=places)}
    by_label = [dict(list(found.groupby("label", sort=False))) for found in columns.values()]
    return Table(
        columns=(Column(heading="mechanism"), *(Column(heading=place, align=Align.RIGHT) for place in columns)),
        rows=tuple(
            (label, *(_latency(found.get(label)) for found in by_label)) for label in dict.fromkeys(part["label"])
        ),
    )


def _latency(found: pd.DataFrame | None) -> str:
    told = (
        []
        if found is None
        else [
            format_interval(_TIMED, *(getattr(row, name) for name in (_TIMED, *METRICS[_TIMED].ends)))
            or str(row.status)
            for row in found.itertuples()
        ]
    )
    return "; ".join(told) or _NOT_COMPARED


def _crossovers(findings: Findings) -> Iterator[Block]:
    parts = list(standings(findings.crossovers, findings.baselines))
    if parts:
        yield Heading(text="Crossovers")
        yield Paragraph(_ABOUT_CROSSOVERS)
    for part in parts:
        if part.conditions:
            said = ", ".join(part.conditions)
            yield Heading(text=said[:1].upper() + said[1:], level=3)
        if part.body:
            body = tuple(tuple(cell or _NOT_COMPARED for cell in line) for line in part.body)
            yield _table(part.headings, body)
        if part.unlisted:
            yield Paragraph(f"Pairs that cross in none of these: {part.unlisted}.")


def _crossovers_by_machine(findings: Findings) -> Iterator[Block]:
    """Yield at which resolution latencies cross on each of several machines, the machines beside each other."""
    rows = findings.rows
    places = [axis for axis in varying(rows) if axis in MACHINE]
    if "machine" not in places:
        return
    columns = [conditions for conditions, _ in apart(rows, places)]
    named = {phrase for column in columns for phrase in column}
    found: dict[tuple[str, ...], dict[str, dict[tuple[str, ...], str]]] = {}
    for each in findings.crossovers:
        if each.metric == _TIMED and (each.second in findings.baselines or each.certain):
            where = tuple(phrase for phrase in each.conditions if phrase in named)
            others = tuple(phrase for phrase in each.conditions if phrase not in named)
            pair = f"{each.first} against {each.second}"
            found.setdefault(others, {}).setdefault(pair, {})[where] = each.words
    if found:
        yield Heading(text="Crossovers of latency, machine by machine")
    for others, pairs in found.items():
        if others:
            yield Heading(text=", ".join(others), level=3)
        body = tuple((pair, *(said.get(column) or _NOT_COMPARED for column in columns)) for pair, said in pairs.items())
        yield _table(("mechanisms", *(", ".join(column) for column in columns)), body)


def _failures(book: Book) -> Iterator[Block]:
    failed = tuple(
        (line.name, sheet.title.removeprefix("resolution "), line.status, line.failure.partition(": ")[2])
        for sheet in book.sheets
        for line in sheet.lines
        if line.failure
    )
    if failed:
        yield Heading(text="What did not run")
        yield _table(("mechanism", "resolution", "status", "reason"), failed)


def _missing(cells: Sequence[str]) -> Iterator[Block]:
    if cells:
        yield Heading(text="What was asked for and not reached")
        yield Listing(points=tuple(cells))


def _pictures(plots: Iterable[Path], conditions: int) -> Iterator[Block]:
    pictures = [plot for plot in plots if plot.suffix == ".png"]
    if pictures:
        yield Heading(text="Plots")
    if pictures and conditions > MOST_PLOTS:
        yield Paragraph(
            f"The first {EXAMPLES} of {conditions} sets of conditions; the report of a run with fewer draws them all."
        )
    yield from (Picture(path=plot, caption=plot.stem.replace("-", " ")) for plot in pictures)


def _meanings(rows: pd.DataFrame, book: Book) -> Iterator[Block]:
    shown = list(book.sheets[0].measures) if book.sheets else []
    if not shown:
        return
    yield Heading(text="What the columns mean")
    headings = ("column", "in records.csv", "meaning", "unit in records.csv", "")
    yield _table(headings, tuple(_meaning(name, METRICS[name]) for name in shown))
    if any(map(is_number, rows["macs"])):
        yield Paragraph("1 MAC is one multiply-add: 2 FLOPs. Norms, softmax and other elementwise work are left out.")


def _meaning(name: str, metric: Metric) -> tuple[Words, ...]:
    return metric.heading, Piece(name, Tone.CODE), metric.label, metric.unit_in_file, _DIRECTIONS[metric.better]


def _table(headings: Sequence[str], body: tuple[tuple[Words, ...], ...]) -> Table:
    return Table(columns=tuple(Column(heading=heading) for heading in headings), rows=body)


def _listed(values: pd.Series[str]) -> str:
    return ", ".join(str(value) for value in values.dropna().unique())
