"""Rows as a book: a sheet for each comparison, its values in units that suit them, its notes numbered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from attnbench.metrics import COLUMNS, METRICS, Needs, Scale, format_value, is_number, scale
from attnbench.report.comparison import comparisons
from attnbench.report.measured import MeasuredColumn, any_number, measured
from attnbench.report.page.blocks import Book, Entry, Line, Measure, Sheet
from attnbench.wording import number_of

Row = Any
"""A row as ``DataFrame.itertuples`` yields it."""
DISAGREEMENT = 0.01
"""Fraction by which counts of the same operations may differ before it is shown."""


def book(rows: pd.DataFrame, *, accuracy: str = "") -> Book:
    """Return prepared rows as sheets.

    Args:
        rows: what is shown.
        accuracy: what accuracy figures are, where they all share it.
    """
    parts = comparisons(rows)
    # Once: a row of a frame takes longer to come by than to set.
    everything: list[Row] = list(rows.itertuples())
    taken = [[everything[place] for place in part.places] for part in parts]
    told = {row.Index: notes_of(row, timed_in=run) for part in taken for row, run in _with_runs(part)}
    # The gravest have the lowest numbers: a screen shows the first.
    gravest = sorted((grave, note) for notes in told.values() for note, grave in notes.items())
    numbers = {note: number for number, note in enumerate(dict.fromkeys(note for _, note in gravest), start=1)}
    marks = {place: tuple(numbers[note] for note in notes) for place, notes in told.items()}
    shown = [metric for metric in COLUMNS if any_number(rows[metric])]
    scales = {metric: _scale(metric, rows) for metric in shown}
    measures = {metric: _measure(metric, scales[metric], accuracy) for metric in shown}
    columns = {metric: measured(metric, rows, scales[metric]) for metric in shown}
    sheets = tuple(
        Sheet(title=part.title, measures=_against(measures, each), lines=_lines(each, columns, marks))
        for part, each in zip(parts, taken, strict=True)
    )
    return Book(sheets=sheets, notes=tuple(numbers))


def _with_runs(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Yield each row of a comparison with the run that timed it, where they are of several, else with nothing."""
    several = len({row.run_id for row in rows}) > 1
    for row in rows:
        yield row, row.run_id if several and is_number(row.latency_median_s) else ""


def failure_of(row: Row) -> str:
    """Return status and reason of a cell that did not end ok, empty if it did."""
    if row.status in ("ok", None):
        return ""
    return f"{row.status}: {' '.join(str(row.reason).split())}" if row.reason else str(row.status)


def notes_of(row: Row, *, timed_in: str) -> dict[str, int]:
    """Return what a reader must know about a row before comparing it, with its rank, the gravest having the lowest.

    Args:
        row: of prepared rows.
        timed_in: the run that timed it, where others beside it were timed in another.
    """
    notes = {
        "suspicious, and not ranked: {}": row.suspicious,
        "its machine stands out: {}": row.machine_remark if is_number(row.latency_median_s) else None,
        "MACs are not ranked: {}": row.macs_doubt,
        "no MACs: {}": _no_macs(row),
        "MACs leave out what no counter counts: {}": row.uncounted_ops,
        "MACs disagree: {}": _disagreement(row),
        "not compiled whole: {}": _pieces(row),
        "in its runtime: {}": row.runtime_remark,
        "adapted: {}": row.adaptation,
        "timing disturbed: {}": row.latency_interference,
        "accuracy {}": row.accuracy_remark,
        "no accuracy: {}": _accuracy_failure(row),
        "changes its process for everyone, which was put back for the others: {}": row.process_changes,
        "measured in another process than the others: {}": row.measured_apart,
        "sets torch's global switches, which was undone: {}": row.torch_flags_restored,
        "its calls warn: {}": row.call_warnings,
        "recompiled while it ran: {} times": row.recompilations,
        "no energy: {}": row.energy_remark,
        "timed in run {}, as was the baseline of its ratio; ratios compare across runs, latencies do not": timed_in,
        "timing ended by its time limit, before the interval was as narrow as asked": row.latency_stopped_by
        == "max-time",
    }
    return {
        note.format(format_value("adaptation", value) or value): rank
        for rank, (note, value) in enumerate(notes.items())
        if value
    }


def _no_macs(row: Row) -> str:
    """Return why a row that is ok has no multiply-adds, empty if it has some."""
    return "" if row.status != "ok" or is_number(row.macs) else str(row.macs_remark or "no counter could count it")


def best_of(rows: Sequence[Row], column: MeasuredColumn) -> tuple[set[int], set[int]]:
    """Return the index of every ok row that no other is better than, and of those that are best without them.

    Neither are any where that leaves nobody out.

    Rows whose figures something speaks against are not ranked.
    With intervals, a row counts as worse only if its interval lies wholly beyond that of the best value.
    Accuracies of different kinds, data sets or epochs are not ranked against each other, nor are latencies of
    different runs; ratios are, which every run has to a baseline of its own.
    """
    ranked = [row for row in rows if column.spans[row.Index]]
    metric = METRICS[column.metric]
    if metric.needs is Needs.ACCURACY and len({(row.accuracy_kind, row.dataset, row.epochs) for row in ranked}) > 1:
        return set(), set()
    if metric.of_one_run and len({row.run_id for row in ranked}) > 1:
        return set(), set()
    spans = {row.Index: column.spans[row.Index] for row in ranked}
    best = column.best(spans)
    if len(best) == len(spans):
        return set(), set()
    second = column.best({place: span for place, span in spans.items() if place not in best})
    return best, second if len(best) + len(second) < len(spans) else set()


def _scale(metric: str, rows: pd.DataFrame) -> Scale:
    """Return the unit of a column, the same in all sheets so that nobody compares milliseconds with seconds."""
    shared = METRICS[metric].unit_of
    return scale(metric, rows[shared] if shared and any_number(rows[shared]) else rows[metric])


def _measure(metric: str, unit: Scale, accuracy: str) -> Measure:
    found = METRICS[metric]
    said = [found.label] if found.explained else []
    # Of what is scored alone: what follows from a score is explained by itself.
    said += [accuracy] if found.needs is Needs.ACCURACY and (found.ends or not found.explained) else []
    return Measure(
        heading=found.heading,
        unit="" if found.ratio_of else unit.unit,
        meaning="; ".join(filter(None, said)),
        gives_way=found.gives_way,
    )


def _against(measures: Mapping[str, Measure], rows: Iterable[Row]) -> dict[str, Measure]:
    """Return columns with the baseline's name where they are of ratios."""
    baselines = {row.baseline for row in rows if row.baseline is not None}
    baseline = str(baselines.pop()) if len(baselines) == 1 else "baseline"
    return {
        metric: replace(measure, against=baseline) if METRICS[metric].ratio_of else measure
        for metric, measure in measures.items()
    }


def _lines(
    rows: Sequence[Row], columns: Mapping[str, MeasuredColumn], marks: Mapping[int, tuple[int, ...]]
) -> tuple[Line, ...]:
    best = {metric: best_of(rows, column) for metric, column in columns.items()}
    return tuple(
        Line(
            name=row.label,
            notes=marks[row.Index],
            entries={
                metric: Entry(
                    value=texts[0],
                    interval=texts[1],
                    brief=texts[2],
                    best=row.Index in best[metric][0],
                    second=row.Index in best[metric][1],
                )
                for metric, column in columns.items()
                if (texts := column.texts[row.Index])
            },
            failure=failure_of(row),
        )
        for row in rows
    )


def _disagreement(row: Row) -> str:
    names = {"closed form": row.macs_closed, "torch": row.macs_torch, "fvcore": row.macs_fvcore}
    counts = {name: count for name, count in names.items() if is_number(count) and count > 0}
    if len(counts) < 2 or max(counts.values()) <= (1 + DISAGREEMENT) * min(counts.values()):
        return ""
    return ", ".join(
        f"{re.sub(' ?MACs$', '', format_value('macs', count))} by {name}" for name, count in counts.items()
    )


def _accuracy_failure(row: Row) -> str:
    if row.accuracy_status in ("ok", None):
        return ""
    return f"{row.accuracy_status}, {row.accuracy_reason}" if row.accuracy_reason else str(row.accuracy_status)


def _pieces(row: Row) -> str:
    if not row.graph_breaks:
        return ""
    graphs = int(row.graphs)
    return f"{number_of(graphs, 'graph')}, {row.graph_breaks_at}"
