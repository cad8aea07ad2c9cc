"""One comparison in words and numbers, before it is turned into text for a screen or into Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from attnbench.metrics import METRICS, Better, Scale, format_value, is_number, scale
from attnbench.report.comparison import ComparableRows, comparisons, constants
from attnbench.report.span import Span

Row = Any
"""A row as ``DataFrame.itertuples`` yields it."""
_OF_ONE_RUN = ("latency_median_s", "throughput_img_per_s")
DISAGREEMENT = 0.01
"""Fraction by which counts of the same operations may differ before it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a sheet."""

    metric: str
    heading: str
    low: str = ""
    """Metric that is the lower end of the interval."""
    high: str = ""
    unit_of: str = ""
    """Metric whose unit the numbers share, so that the two columns can be set against each other."""
    limits: tuple[float, ...] = (0,)
    """Values on either side of which a reader understands different things."""


COLUMNS = (
    Column(metric="params", heading="params"),
    Column(metric="macs", heading="MACs"),
    Column(metric="macs_attention", heading="attn", unit_of="macs"),
    Column(metric="latency_median_s", heading="latency", low="latency_ci_low_s", high="latency_ci_high_s"),
    Column(
        metric="latency_ratio", heading="vs", low="latency_ratio_ci_low", high="latency_ratio_ci_high", limits=(0, 1)
    ),
    Column(metric="throughput_img_per_s", heading="throughput"),
    Column(metric="memory_peak_bytes", heading="peak"),
    Column(metric="memory_saved_bytes", heading="saved", unit_of="memory_peak_bytes"),
    Column(metric="accuracy_top1", heading="top-1", low="accuracy_ci_low", high="accuracy_ci_high"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A measured value in the unit of its column."""

    value: str
    interval: str = ""
    """Both ends, ``[15.8, 16.3]``."""
    brief: str = ""
    """The same with less room: ``±0.3`` to the farther of two ends about as far, or both ends with fewer digits."""
    best: bool = False
    """Whether nothing in the comparison is better; ends of intervals that overlap are not better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A mechanism in a comparison."""

    name: str
    notes: tuple[int, ...]
    entries: Mapping[str, Entry]
    """By metric; what was not measured is not there."""
    failure: str
    """Status and reason of a cell that did not end ok, empty if it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A comparison, ready to be set in type."""

    title: str
    headings: Mapping[str, tuple[str, str]]
    """By metric: what the column is called and the unit of its numbers."""
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All sheets of a frame with what they share."""

    constants: tuple[str, ...]
    """What all rows have in common, in phrases."""
    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...]
    """What the numbers beside the names refer to, from 1."""


def book(rows: pd.DataFrame) -> Book:
    """Return prepared rows as sheets."""
    parts = comparisons(rows)
    notes = list(dict.fromkeys(note for part in parts for row in part.rows.itertuples() for note in notes_of(row)))
    shown = [column for column in COLUMNS if any(map(is_number, rows[column.metric]))]
    scales = {column.metric: _scale(column, rows) for column in shown}
    sheets = tuple(_sheet(each, shown, scales, notes) for each in parts)
    return Book(constants=constants(rows), sheets=sheets, notes=tuple(notes))


def failure_of(row: Row) -> str:
    """Return status and reason of a cell that did not end ok, empty if it did."""
    if row.status in ("ok", None):
        return ""
    return f"{row.status}: {' '.join(str(row.reason).split())}" if row.reason else str(row.status)


def notes_of(row: Row) -> list[str]:
    """Return what a reader must know about a row before comparing it."""
    notes = {
        "adapted: {}": row.adaptation,
        "sets torch's global switches, which was undone: {}": row.torch_flags_restored,
        "timed in run {}, as was the baseline of its ratio; ratios compare across runs, latencies do not": row.timed_in,
        "timing disturbed: {}": row.latency_interference,
        "timing ended by its time limit, before the interval was as narrow as asked": row.latency_stopped_by
        == "max-time",
        "MACs leave out what no counter counts: {}": row.uncounted_ops,
        "MACs disagree: {}": _disagreement(row),
        "recompiled while it ran: {} times": row.recompilations,
        "no accuracy: {}": _accuracy_failure(row),
    }
    return [note.format(format_value("adaptation", value) or value) for note, value in notes.items() if value]


def best_of(rows: Sequence[Row], column: Column) -> set[Any]:
    """Return the index of every ok row that no other is better than, empty if that leaves nobody out.

    With intervals, a row counts as worse only if its interval lies wholly beyond that of the best value.
    Accuracies of different kinds, data sets or epochs are not ranked against each other, nor are latencies of
    different runs; ratios are, which every run has to a baseline of its own.
    """
    ranked = [row for row in rows if row.status == "ok" and is_number(getattr(row, column.metric))]
    learned = {(row.accuracy_kind, row.dataset, row.epochs) for row in ranked}
    if column.metric.startswith("accuracy") and len(learned) > 1:
        return set()
    if column.metric in _OF_ONE_RUN and len({row.run_id for row in ranked}) > 1:
        return set()
    sign = -1 if METRICS[column.metric].better is Better.HIGHER else 1
    spans = {
        row.Index: (*sorted(sign * end for end in _span(row, column)), sign * getattr(row, column.metric))
        for row in ranked
    }
    if not spans:
        return set()
    worst_of_best = min(spans.values(), key=lambda span: span[2])[1]
    best = {index for index, (low, _, _) in spans.items() if low <= worst_of_best}
    return best if len(best) < len(spans) else set()


def _span(row: Row, column: Column) -> tuple[float, float]:
    """Return the interval of a value; a throughput has that of the latency it is computed from."""
    value = getattr(row, column.metric)
    if column.metric == "throughput_img_per_s":
        median, low, high = row.latency_median_s, row.latency_ci_low_s, row.latency_ci_high_s
        return (
            (value * median / high, value * median / low)
            if all(is_number(each) and each > 0 for each in (median, low, high))
            else (value, value)
        )
    low, high = (getattr(row, end) if end else None for end in (column.low, column.high))
    return (low, high) if is_number(low) and is_number(high) else (value, value)


def _scale(column: Column, rows: pd.DataFrame) -> Scale:
    """Return the unit of a column, the same in all sheets so that nobody compares milliseconds with seconds."""
    values = (
        rows[column.unit_of] if column.unit_of and any(map(is_number, rows[column.unit_of])) else rows[column.metric]
    )
    return scale(column.metric, values)


def _sheet(
    comparison: ComparableRows, shown: Sequence[Column], scales: Mapping[str, Scale], notes: Sequence[str]
) -> Sheet:
    # Once: a row of a frame takes longer to come by than to set.
    rows = list(comparison.rows.itertuples())
    best = {column.metric: best_of(rows, column) for column in shown}
    lines = tuple(
        Line(
            name=str(row.label),
            notes=tuple(notes.index(note) + 1 for note in notes_of(row)),
            entries={
                column.metric: _entry(row, column, scales[column.metric], best=row.Index in best[column.metric])
                for column in shown
                if is_number(getattr(row, column.metric))
            },
            failure=failure_of(row),
        )
        for row in rows
    )
    return Sheet(title=comparison.title, headings=_headings(shown, scales, comparison.rows), lines=lines)


def _headings(shown: Iterable[Column], scales: Mapping[str, Scale], rows: pd.DataFrame) -> dict[str, tuple[str, str]]:
    headings = {column.metric: (column.heading, scales[column.metric].unit) for column in shown}
    baselines = rows["baseline"].dropna().unique()
    if "latency_ratio" in headings:
        headings["latency_ratio"] = ("vs", str(baselines[0]) if len(baselines) == 1 else "baseline")
    return headings


def _entry(row: Row, column: Column, unit: Scale, *, best: bool) -> Entry:
    value = getattr(row, column.metric)
    low, high = (getattr(row, end) if end else None for end in (column.low, column.high))
    if not (is_number(low) and is_number(high) and low < high):
        return Entry(value=unit.number(value), best=best)
    half_width = (high - low) / 2
    decimals = unit.decimals(value, half_width=half_width)
    found = Span(value=value / unit.size, low=low / unit.size, high=high / unit.size)
    limits = [limit / unit.size for limit in column.limits]
    return Entry(
        value=unit.number(value, half_width=half_width),
        interval=found.ends(decimals),
        brief=found.margin(decimals, limits) or found.fewest(decimals, limits),
        best=best,
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
