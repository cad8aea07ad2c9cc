"""Tables for a screen, and ``records.csv``.

A table reads the same without colour: the best value carries a sign, a failed cell says so in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from attnbench import inert
from attnbench.metrics import METRICS, Needs
from attnbench.report.excerpt import excerpt
from attnbench.report.findings import Findings
from attnbench.report.folding import folded
from attnbench.report.layout import Layout, fitting, superscript
from attnbench.report.sheet import Book, Entry, Line, Sheet

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

_MOST_REMARKS = 30
"""Lines under tables of which not all are shown."""
_FAILURE_LINES = 2
_NARROWEST_FAILURE = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenTable:
    """Tables, one for each comparison, that fit themselves to the console they are printed on."""

    book: Book
    accuracy: str
    """What the accuracy figures are."""
    left_out: str = ""
    """What of the rows is not there."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tables line by line."""
        if not self.book.sheets:
            yield Text("nothing was recorded")
            return
        layout = fitting(self.book, options.max_width)
        footnotes = _footnotes(self.book, layout, options.max_width)
        yield _folded(", ".join(self.book.constants), options.max_width, "bold")
        for sheet in self.book.sheets:
            yield Text()
            yield Text(sheet.title, style="bold cyan", overflow="fold")
            yield from _heading_lines(sheet, layout)
            for line in sheet.lines:
                yield from _lines(line, layout, options.max_width, footnotes)
        remarks = _remarks(self, layout, footnotes)
        if remarks:
            yield Text()
        lines = [row for remark in remarks for row in textwrap.wrap(remark, options.max_width)]
        if self.left_out and len(lines) > _MOST_REMARKS:
            lines[_MOST_REMARKS - 1 :] = [f"and {len(lines) - _MOST_REMARKS + 1} more lines, in report.md"]
        yield from (Text(line, style="dim") for line in lines)


def screen_table(findings: Findings) -> ScreenTable:
    """Return tables for ``Console.print``: one for each resolution and set of conditions, or the first of very many."""
    shown = excerpt(findings.book)
    return ScreenTable(book=shown.book, accuracy=findings.accuracy, left_out=shown.left_out)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write every row and column; those of ``CSV_COLUMNS`` come first, and are there even if nothing filled them."""
    others = [column for column in frame.columns if column not in {*CSV_COLUMNS, "machine"}]
    as_text(frame.reindex(columns=[*CSV_COLUMNS, *others])).to_csv(path, index=False, lineterminator="\n")


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts no spreadsheet takes for formulas."""
    texts = frame.select_dtypes(include=["object", "str"])
    inertly = {
        # As objects, whole numbers stay whole where some are empty.
        str(name): pd.Series([inert.spreadsheet(value) for value in texts[name]], index=frame.index, dtype=object)
        for name in texts.columns
    }
    return frame.assign(**inertly)


def _heading_lines(sheet: Sheet, layout: Layout) -> list[Text]:
    """Return what the columns are called and, under it, their units."""
    rows = [
        " " * layout.label
        + "".join(
            " " * layout.gap + _centred(sheet.headings[metric][place], layout, metric) for metric in layout.widths
        )
        for place in (0, 1)
    ]
    styled = zip(rows, ("bold", "dim"), strict=True)
    return [
        *(Text(row.rstrip(), style=style, no_wrap=True) for row, style in styled if row.strip()),
        Text("-" * layout.width, style="dim", no_wrap=True, overflow="crop"),
    ]


def _centred(heading: str, layout: Layout, metric: str) -> str:
    """Return a heading flush with the numbers, or in the middle of numbers and intervals."""
    width = layout.cell(metric)
    return heading.center(width) if layout.widths[metric][1] else f"{heading} "[:width].rjust(width)


def _lines(line: Line, layout: Layout, room: int, footnotes: Sequence[str]) -> list[Text]:
    """Return a mechanism's line; long names and failures take more than one."""
    cells = [_cell(line.entries.get(metric), layout, metric) for metric in layout.widths]
    name = folded(line.name, layout.label, mark=superscript(*line.notes))
    if not line.failure:
        return _beside(name, [Text.assemble(*cells)], layout)
    kept = Text.assemble(*cells[: _measured(line, layout)])
    said = _told(line, footnotes)
    left = _left(line, layout, room)
    if left < min(_NARROWEST_FAILURE, len(said)):
        below = textwrap.wrap(said, _left_below(layout, room))
        return _beside(name, [kept, *(Text(" " * layout.gap + row, style="red") for row in below)], layout)
    failure = textwrap.wrap(said, left)
    starts = [kept, *[Text(" " * len(kept))] * (len(failure) - 1)]
    body = [Text.assemble(start, " " * layout.gap, (row, "red")) for start, row in zip(starts, failure, strict=True)]
    return _beside(name, body, layout)


def _footnotes(book: Book, layout: Layout, room: int) -> list[str]:
    """Return what stands under the tables by number: the notes, and the failures that are too long for their line."""
    lines = [line for sheet in book.sheets for line in sheet.lines if line.failure]
    long = [line.failure for line in lines if not _fits(line, layout, room)]
    return [*book.notes, *dict.fromkeys(long)]


def _fits(line: Line, layout: Layout, room: int) -> bool:
    left = _left(line, layout, room)
    width = left if left >= min(_NARROWEST_FAILURE, len(line.failure)) else _left_below(layout, room)
    return len(textwrap.wrap(line.failure, width)) <= _FAILURE_LINES


def _told(line: Line, footnotes: Sequence[str]) -> str:
    """Return the failure, or its status and the number of the footnote that tells the rest."""
    if line.failure not in footnotes:
        return line.failure
    return f"{line.failure.partition(':')[0]}, see {superscript(footnotes.index(line.failure) + 1)}"


def _measured(line: Line, layout: Layout) -> int:
    """Return how many columns it takes to show what was measured."""
    return max([place + 1 for place, metric in enumerate(layout.widths) if metric in line.entries], default=0)


def _left(line: Line, layout: Layout, room: int) -> int:
    """Return the characters right of what was measured."""
    return max(layout.width, room) - layout.label - layout.across(_measured(line, layout)) - layout.gap


def _left_below(layout: Layout, room: int) -> int:
    return max(layout.width, room) - layout.label - layout.gap


def _beside(name: list[str], body: list[Text], layout: Layout) -> list[Text]:
    height = max(len(name), len(body))
    names = [*name, *[""] * (height - len(name))]
    bodies = [*body, *[Text()] * (height - len(body))]
    lines = [Text.assemble(left.ljust(layout.label), right) for left, right in zip(names, bodies, strict=True)]
    for each in lines:
        each.no_wrap = True
        each.overflow = "crop"
        each.rstrip()
    return lines


def _cell(entry: Entry | None, layout: Layout, metric: str) -> Text:
    value, interval = layout.widths[metric]
    if entry is None:
        return Text(" " * layout.gap + NOT_MEASURED.rjust(value) + " " * (layout.cell(metric) - value), style="dim")
    number = (entry.value.rjust(value) + (BEST if entry.best else " "), "bold green" if entry.best else "")
    tail = f" {layout.interval(entry).ljust(interval)}" if interval else ""
    return Text.assemble(" " * layout.gap, number, (tail, "dim"))


def _remarks(table: ScreenTable, layout: Layout, footnotes: Sequence[str]) -> list[str]:
    """Return what stands under the tables: the signs that are on them explained, what was left out, the footnotes."""
    headings = table.book.sheets[0].headings
    lost = [heading for metric, (heading, _) in headings.items() if metric not in layout.widths]
    learned = [METRICS[metric].heading for metric in layout.widths if METRICS[metric].needs is Needs.ACCURACY]
    signs = "; ".join(_signs(table.book, layout))
    return [
        *([table.left_out] if table.left_out else []),
        *([f"{signs}."] if signs else []),
        *(f"{heading}: {table.accuracy}" for heading in learned[:1] if table.accuracy),
        *([f"Hidden to fit the terminal: {', '.join(lost)}."] if lost else []),
        *(f"{superscript(number)} {note}" for number, note in enumerate(footnotes, start=1)),
    ]


def _signs(book: Book, layout: Layout) -> list[str]:
    lines = [line for sheet in book.sheets for line in sheet.lines]
    entries = [line.entries[metric] for line in lines for metric in layout.widths if metric in line.entries]
    intervals = [layout.interval(entry) for entry in entries]
    overlap = ", or its interval overlaps the best" if any(intervals) else ""
    meanings = {
        f"{BEST} best{overlap}": any(entry.best for entry in entries),
        "± to the farther end of the 95 % interval": any(each.startswith("±") for each in intervals),
        "[ ] 95 % interval": any(each.startswith("[") for each in intervals),
    }
    meanings |= {
        f"{METRICS[metric].heading}: {METRICS[metric].label}": True
        for metric in layout.widths
        if METRICS[metric].explained
    }
    return [meaning for meaning, there in meanings.items() if there]


def _folded(text: str, width: int, style: str) -> Text:
    return Text("\n".join(textwrap.wrap(text, width)), style=style)
