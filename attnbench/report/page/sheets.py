"""A book on a screen: its sheets as tables of the same widths, and under them what their signs and numbers mean.

It reads the same without colour: the best value carries a sign, a failed cell says so in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from attnbench import inert
from attnbench.report.page.blocks import Book, Entry, Line, Measure, Sheet
from attnbench.report.page.folding import folded
from attnbench.report.page.layout import Layout, fitting, heading_of, superscript

BEST, SECOND = "*", "+"
NOT_MEASURED = "-"
_MOST_REMARKS = 30
"""Lines under tables of which not all are shown."""
_MOST_NOTES = 3
"""Lines of notes; what is said in more of them is in the report."""
_FAILURE_LINES = 2
_NARROWEST_FAILURE = 24


class _Told(Enum):
    """Where a failure is told."""

    NOWHERE = auto()
    BESIDE = auto()
    BELOW = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenBook:
    """A book that fits itself to the console it is printed on."""

    book: Book

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the sheets, a blank line between them, and the remarks."""
        if not self.book.sheets:
            yield Text("nothing was recorded")
            return
        setter = _Setter.of(self.book, options.max_width)
        for place, sheet in enumerate(self.book.sheets):
            yield from [Text()] if place else []
            yield Text(inert.line(sheet.title), style="bold cyan", overflow="fold")
            yield from setter.sheet(sheet)
        remarks = setter.remarks()
        yield from [Text(), *remarks] if remarks else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setter:
    book: Book
    layout: Layout
    room: int
    footnotes: tuple[str, ...]
    """The notes, and the failures that are too long for their line."""

    @classmethod
    def of(cls, book: Book, room: int) -> _Setter:
        layout = fitting(book, room)
        setter = cls(book=book, layout=layout, room=max(room, layout.width), footnotes=book.notes)
        failed = (line for sheet in book.sheets for line in sheet.lines if line.failure)
        long = dict.fromkeys(inert.line(line.failure) for line in failed if not setter._fits(line))
        return replace(setter, footnotes=(*book.notes, *long))

    def sheet(self, sheet: Sheet) -> Iterator[RenderableType]:
        """Yield the heading and the lines, in one table as long as they have the same columns."""
        yield self._heading(sheet.measures)
        for (columns, told), lines in groupby(sheet.lines, lambda line: (self._columns(line), self._told(line))):
            if told is _Told.BELOW:
                for line in lines:
                    yield self._rows([line], columns)
                    yield Padding(Text(self._failure(line), style="red"), (0, 0, 0, self._indent))
            else:
                yield self._rows(lines, columns, beside=told is _Told.BESIDE)

    def remarks(self) -> list[Text]:
        """Return, line by line, what was left out, the signs explained, what is hidden, and the footnotes."""
        measures = self.book.sheets[0].measures
        hidden = [measure.heading for metric, measure in measures.items() if metric not in self.layout.widths]
        signs = "; ".join(self._signs())
        said = [
            self.book.left_out,
            f"{signs}." if signs else "",
            f"Hidden to fit the terminal: {', '.join(hidden)}." if hidden else "",
        ]
        lines = [row for each in said for row in textwrap.wrap(each, self.room)]
        lines += [*self._notes(), *(row for each in self._failures() for row in textwrap.wrap(each, self.room))]
        if self.book.left_out and len(lines) > _MOST_REMARKS:
            lines[_MOST_REMARKS - 1 :] = [f"and {len(lines) - _MOST_REMARKS + 1} more lines, in report.md"]
        return [Text(line, style="dim") for line in lines]

    def _notes(self) -> Iterator[str]:
        """Yield the first notes, a line each, and where the others and their ends are."""
        notes = [f"{superscript(at)} {inert.line(note)}" for at, note in enumerate(self.book.notes, start=1)]
        most = _MOST_NOTES if len(notes) <= _MOST_NOTES else _MOST_NOTES - 1
        shown = [textwrap.shorten(note, self.room, placeholder=" ...") for note in notes[:most]]
        yield from shown
        if notes[most:]:
            first, last = superscript(most + 1), superscript(len(notes))
            yield f"{first} to {last}: in report.md" if first != last else f"{first}: in report.md"

    def _failures(self) -> Iterator[str]:
        """Yield the failures that are too long for their line."""
        for number, failure in enumerate(self.footnotes, start=1):
            if number > len(self.book.notes):
                yield f"{superscript(number)} {failure}"

    @property
    def _indent(self) -> int:
        return self.layout.label + self.layout.gap

    def _heading(self, measures: Mapping[str, Measure]) -> Table:
        """Return what the columns are called, under it their units, and a rule."""
        table = self._table(len(self.layout.widths))
        table.show_header = bool(self.layout.widths)
        for column, metric in zip(table.columns[1:], self.layout.widths, strict=True):
            heading, unit = (self._over(word, metric) for word in heading_of(measures[metric]))
            column.header = Text.assemble((heading, "bold"), "\n", (unit, "dim"))
        return table

    def _over(self, word: str, metric: str) -> str:
        """Return a heading flush with the numbers, or in the middle of numbers and intervals."""
        width = self.layout.cell(metric)
        return word.center(width) if self.layout.widths[metric][1] else f"{word} "[:width].rjust(width)

    def _rows(self, lines: Iterable[Line], columns: int, *, beside: bool = False) -> Table:
        table = self._table(columns)
        if beside:
            table.add_column(overflow="fold", style="red")
        metrics = list(self.layout.widths)[:columns]
        for line in lines:
            name = folded(inert.line(line.name), self.layout.label, mark=superscript(*line.notes))
            cells = (self._cell(line.entries.get(metric), metric) for metric in metrics)
            table.add_row(Text("\n".join(name)), *cells, *([Text(self._failure(line))] if beside else []))
        return table

    def _table(self, columns: int) -> Table:
        """Return a table of names and the first columns of values, all as wide as in any other."""
        gap = (0, self.layout.gap - 1, 0, 0)  # the box puts a blank between columns
        table = Table(
            box=SIMPLE_HEAD,
            padding=gap,
            show_edge=False,
            pad_edge=False,
            show_header=False,
            header_style="none",
            border_style="dim",
        )
        for width in (self.layout.label, *map(self.layout.cell, list(self.layout.widths)[:columns])):
            table.add_column(width=width, no_wrap=True, overflow="crop")
        return table

    def _cell(self, entry: Entry | None, metric: str) -> Text:
        value, interval = self.layout.widths[metric]
        if entry is None:
            return Text(NOT_MEASURED.rjust(value), style="dim")
        sign = BEST if entry.best else SECOND if entry.second else " "
        number = (entry.value.rjust(value) + sign, "bold green" if entry.best else "green" if entry.second else "")
        return Text.assemble(number, (f" {self.layout.interval(entry)}" if interval else "", "dim"))

    def _failure(self, line: Line) -> str:
        """Return the failure, or its status and the number of the footnote that tells the rest."""
        failure = inert.line(line.failure)
        if failure not in self.footnotes:
            return failure
        return f"{inert.line(line.status)}, see {superscript(self.footnotes.index(failure) + 1)}"

    def _columns(self, line: Line) -> int:
        """Return how many columns a line has: all, or of one that failed those it takes to show what was measured."""
        measured = [place for place, metric in enumerate(self.layout.widths, start=1) if metric in line.entries]
        return max(measured, default=0) if line.failure else len(self.layout.widths)

    def _told(self, line: Line) -> _Told:
        """Return where the failure of a line is told."""
        if not line.failure:
            return _Told.NOWHERE
        enough = min(_NARROWEST_FAILURE, len(self._failure(line)))
        return _Told.BESIDE if self._beside(line) >= enough else _Told.BELOW

    def _beside(self, line: Line) -> int:
        """Return the characters right of what was measured."""
        return self.room - self._indent - self.layout.across(self._columns(line))

    def _fits(self, line: Line) -> bool:
        width = self._beside(line) if self._told(line) is _Told.BESIDE else self.room - self._indent
        return len(textwrap.wrap(inert.line(line.failure), width)) <= _FAILURE_LINES

    def _signs(self) -> Iterator[str]:
        """Yield what the signs that are there mean, and the headings that leave something open."""
        measures, metrics = self.book.sheets[0].measures, self.layout.widths
        lines = [line for sheet in self.book.sheets for line in sheet.lines]
        entries = [line.entries[metric] for line in lines for metric in metrics if metric in line.entries]
        intervals = [self.layout.interval(entry) for entry in entries]
        if any(entry.best for entry in entries):
            yield f"{BEST} best, or its interval overlaps the best" if any(intervals) else f"{BEST} best"
        if any(entry.second for entry in entries):
            yield f"{SECOND} of the others"
        if any(each.startswith("±") for each in intervals):
            yield "± to the farther end of the 95 % interval"
        if any(each.startswith("[") for each in intervals):
            yield "[ ] 95 % interval"
        told = (measures[metric] for metric in metrics if measures[metric].meaning)
        yield from (f"{measure.heading}: {inert.line(measure.meaning)}" for measure in told)
