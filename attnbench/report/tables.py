"""Tables for a screen, and ``records.csv``.

A table reads the same without colour: the best value carries a sign, a failed cell says so in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from attnbench.report.comparison import accuracy_conditions, prepared
from attnbench.report.sheet import Book, Entry, Line, Sheet, book

BEST = "*"
NOT_MEASURED = "-"
_CSV_COLUMNS = """
run_id cell_key started_at mechanism options plugin_distribution scope network res_height res_width dim heads depth
batch mode dtype device hardware threads backend compiled status reason params macs macs_attention flops macs_closed
macs_torch macs_fvcore uncounted_ops memory_peak_bytes memory_saved_bytes latency_median_s latency_ci_low_s
latency_ci_high_s latency_p90_s latency_samples throughput_img_per_s baseline latency_ratio latency_ratio_ci_low
latency_ratio_ci_high accuracy_kind accuracy_top1 accuracy_ci_low accuracy_ci_high accuracy_seeds dataset epochs
environment_id attnbench_version torch_version
"""
CSV_COLUMNS = tuple(_CSV_COLUMNS.split())
"""The columns of ``records.csv`` that always come first and in this order."""

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_SACRIFICED = ("throughput_img_per_s", "macs_attention", "params", "memory_saved_bytes", "macs", "accuracy_top1")
"""Columns that go when the screen is too narrow, the first to go first."""
_LABEL_WIDTHS = (30, 16)
_FAILURE_LINES = 2
_NARROWEST_FAILURE = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """One way to set all sheets: which columns, how wide, with which form of interval."""

    label: int
    widths: Mapping[str, tuple[int, int]]
    """By metric: room for the value and for its interval."""
    short: bool
    gap: int

    @property
    def width(self) -> int:
        """Characters that a line takes."""
        return self.label + sum(self.cell(metric) + self.gap for metric in self.widths)

    def cell(self, metric: str) -> int:
        """Characters of a column: value, sign, and interval after a space."""
        value, interval = self.widths[metric]
        return value + 1 + (interval + 1 if interval else 0)

    def interval(self, entry: Entry) -> str:
        """Return the interval in the form of this layout."""
        return entry.margin if self.short else entry.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenTable:
    """Tables, one for each comparison, that fit themselves to the console they are printed on."""

    book: Book
    accuracy: str
    """What the accuracy figures are."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tables line by line."""
        if not self.book.sheets:
            yield Text("nothing was recorded")
            return
        layout = _fitting(self.book, options.max_width)
        yield _folded(", ".join(self.book.constants), options.max_width, "bold")
        for sheet in self.book.sheets:
            yield Text()
            yield Text(sheet.title, style="bold cyan", overflow="fold")
            yield from _heading_lines(sheet, layout)
            for line in sheet.lines:
                yield from _lines(line, layout, options.max_width)
        yield Text()
        for remark in _remarks(self, layout):
            yield _folded(remark, options.max_width, "dim")


def screen_table(frame: pd.DataFrame) -> ScreenTable:
    """Return the tables of a frame for ``Console.print``: one for each resolution and set of conditions."""
    rows = prepared(frame)
    return ScreenTable(book=book(rows), accuracy=accuracy_conditions(rows))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write every row and column; those of ``CSV_COLUMNS`` come first, and are there even if nothing filled them."""
    others = [column for column in frame.columns if column not in CSV_COLUMNS]
    frame.reindex(columns=[*CSV_COLUMNS, *others]).to_csv(path, index=False, lineterminator="\n")


def _fitting(book: Book, room: int) -> _Layout:
    """Return the most generous layout that fits, columns given up only when nothing else helps."""
    metrics = list(book.sheets[0].headings)
    tried = [_layout(book, metrics, label=_LABEL_WIDTHS[0], short=short, gap=2) for short in (False, True)]
    tried.append(_layout(book, metrics, label=_LABEL_WIDTHS[1], short=True, gap=1))
    for given_up in _SACRIFICED:
        metrics = [metric for metric in metrics if metric != given_up]
        tried.append(_layout(book, metrics, label=_LABEL_WIDTHS[1], short=True, gap=1))
    return next((layout for layout in tried if layout.width <= room), tried[-1])


def _layout(book: Book, metrics: list[str], *, label: int, short: bool, gap: int) -> _Layout:
    lines = [line for sheet in book.sheets for line in sheet.lines]
    widths = {}
    for metric in metrics:
        entries = [line.entries[metric] for line in lines if metric in line.entries]
        value = max([len(entry.value) for entry in entries], default=1)
        interval = max([len(entry.margin if short else entry.interval) for entry in entries], default=0)
        heading = max(len(word) for sheet in book.sheets for word in sheet.headings[metric])
        taken = value + 1 + (interval + 1 if interval else 0)
        widths[metric] = (value + max(0, heading - taken), interval)
    longest = max(len(line.name) + len(_superscript(line)) for line in lines)
    return _Layout(label=min(label, longest), widths=widths, short=short, gap=gap)


def _heading_lines(sheet: Sheet, layout: _Layout) -> list[Text]:
    """Return what the columns are called and, under it, their units."""
    rows = [
        " " * layout.label
        + "".join(
            " " * layout.gap + _centred(sheet.headings[metric][place], layout, metric) for metric in layout.widths
        )
        for place in (0, 1)
    ]
    return [
        *(Text(row.rstrip(), style=style, no_wrap=True) for row, style in zip(rows, ("bold", "dim"), strict=True)),
        Text("-" * layout.width, style="dim", no_wrap=True, overflow="crop"),
    ]


def _centred(heading: str, layout: _Layout, metric: str) -> str:
    """Return a heading flush with the numbers, or in the middle of numbers and intervals."""
    width = layout.cell(metric)
    return heading.center(width) if layout.widths[metric][1] else f"{heading} "[:width].rjust(width)


def _lines(line: Line, layout: _Layout, room: int) -> list[Text]:
    """Return a mechanism's line; long names and failures take more than one."""
    cells = [_cell(line.entries.get(metric), layout, metric) for metric in layout.widths]
    name = textwrap.wrap(line.name + _superscript(line), layout.label)
    if not line.failure:
        return _beside(name, [Text.assemble(*cells)], layout)
    measured = max([place + 1 for place, metric in enumerate(layout.widths) if metric in line.entries], default=0)
    kept = Text.assemble(*cells[:measured])
    left = max(layout.width, min(room, layout.width + 20)) - layout.label - len(kept) - layout.gap
    if left < _NARROWEST_FAILURE:
        below = _wrapped(line.failure, room - layout.label - layout.gap)
        return _beside(name, [kept, *(Text(" " * layout.gap + row, style="red") for row in below)], layout)
    failure = _wrapped(line.failure, left)
    starts = [kept, *[Text(" " * len(kept))] * (len(failure) - 1)]
    body = [Text.assemble(start, " " * layout.gap, (row, "red")) for start, row in zip(starts, failure, strict=True)]
    return _beside(name, body, layout)


def _beside(name: list[str], body: list[Text], layout: _Layout) -> list[Text]:
    height = max(len(name), len(body))
    names = [*name, *[""] * (height - len(name))]
    bodies = [*body, *[Text()] * (height - len(body))]
    lines = [Text.assemble(left.ljust(layout.label), right) for left, right in zip(names, bodies, strict=True)]
    for each in lines:
        each.no_wrap = True
        each.overflow = "crop"
        each.rstrip()
    return lines


def _cell(entry: Entry | None, layout: _Layout, metric: str) -> Text:
    value, interval = layout.widths[metric]
    if entry is None:
        return Text(" " * layout.gap + NOT_MEASURED.rjust(value) + " " * (layout.cell(metric) - value), style="dim")
    number = (entry.value.rjust(value) + (BEST if entry.best else " "), "bold green" if entry.best else "")
    tail = f" {layout.interval(entry).ljust(interval)}" if interval else ""
    return Text.assemble(" " * layout.gap, number, (tail, "dim"))


def _wrapped(failure: str, width: int) -> list[str]:
    return textwrap.wrap(failure, width, max_lines=_FAILURE_LINES, placeholder=" ...")


def _superscript(line: Line) -> str:
    return " ".join(str(note).translate(_SUPERSCRIPTS) for note in line.notes)


def _remarks(table: ScreenTable, layout: _Layout) -> list[str]:
    """Return what stands under the tables: the signs explained, what was left out, the notes."""
    headings = table.book.sheets[0].headings
    lost = [heading for metric, (heading, _) in headings.items() if metric not in layout.widths]
    interval = "± to the farther end of the 95 % interval" if layout.short else "[ ] 95 % interval"
    signs = f"{BEST} best, or its interval overlaps the best; {interval}; attn: MACs of the attention products."
    return [
        signs,
        *([f"top-1: {table.accuracy}"] if table.accuracy and "accuracy_top1" in layout.widths else []),
        *([f"Left out for want of width: {', '.join(lost)}."] if lost else []),
        *(f"{str(number).translate(_SUPERSCRIPTS)} {note}" for number, note in enumerate(table.book.notes, start=1)),
    ]


def _folded(text: str, width: int, style: str) -> Text:
    return Text("\n".join(textwrap.wrap(text, width)), style=style)
