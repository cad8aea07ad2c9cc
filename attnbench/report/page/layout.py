"""How sheets are set on a screen: which columns, how wide, and with which form of interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from attnbench import inert
from attnbench.report.page.blocks import Book, Entry, Measure

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LABEL_WIDTHS = (30, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to set all sheets."""

    label: int
    widths: Mapping[str, tuple[int, int]]
    """By metric: room for the value and for its interval."""
    short: bool
    gap: int

    @property
    def width(self) -> int:
        """Characters that a line takes."""
        return self.label + self.across(len(self.widths))

    def across(self, columns: int) -> int:
        """Characters that the first columns after the name take."""
        return sum(self.cell(metric) + self.gap for metric in list(self.widths)[:columns])

    def cell(self, metric: str) -> int:
        """Characters of a column: value, sign, and interval after a space."""
        value, interval = self.widths[metric]
        return value + 1 + (interval + 1 if interval else 0)

    def interval(self, entry: Entry) -> str:
        """Return the interval in the form of this layout."""
        return entry.brief if self.short else entry.interval


def fitting(book: Book, room: int) -> Layout:
    """Return the most generous layout that fits, columns given up only when nothing else helps.

    Names take what is left over before any of them is broken.
    """
    measures = book.sheets[0].measures
    metrics = list(measures)
    names = {(line.name, line.notes) for sheet in book.sheets for line in sheet.lines}
    longest = max(cell_len(inert.line(name) + superscript(*notes)) for name, notes in names)
    wide, narrow = (min(width, longest) for width in _LABEL_WIDTHS)
    tried = [_layout(book, metrics, label=wide, short=short, gap=2) for short in (False, True)]
    tried.append(_layout(book, metrics, label=narrow, short=True, gap=1))
    for given_up in _in_order(measures):
        metrics = [metric for metric in metrics if metric != given_up]
        tried.append(_layout(book, metrics, label=narrow, short=True, gap=1))
    found = next((layout for layout in tried if layout.width <= room), tried[-1])
    return replace(found, label=min(longest, found.label + max(0, room - found.width)))


def superscript(*notes: int) -> str:
    """Return the numbers of notes as they stand beside a name."""
    return " ".join(str(note).translate(_SUPERSCRIPTS) for note in notes)


def _in_order(measures: Mapping[str, Measure]) -> list[str]:
    """Return the metrics that a narrow screen gives up, the first to go first."""
    ranks = {metric: measure.gives_way for metric, measure in measures.items() if measure.gives_way is not None}
    return sorted(ranks, key=ranks.__getitem__)


def _layout(book: Book, metrics: Sequence[str], *, label: int, short: bool, gap: int) -> Layout:
    layout = Layout(label=label, widths={}, short=short, gap=gap)
    lines = [line for sheet in book.sheets for line in sheet.lines]
    widths = {}
    for metric in metrics:
        entries = [line.entries[metric] for line in lines if metric in line.entries]
        value = max([len(entry.value) for entry in entries], default=1)
        interval = max([len(layout.interval(entry)) for entry in entries], default=0)
        heading = max(cell_len(word) for sheet in book.sheets for word in heading_of(sheet.measures[metric]))
        taken = value + 1 + (interval + 1 if interval else 0)
        widths[metric] = (value + max(0, heading - taken), interval)
    return replace(layout, widths=widths)


def heading_of(measure: Measure) -> tuple[str, str]:
    """Return what stands above a column, and under that its unit or what its ratios are taken over."""
    return measure.heading, measure.unit or inert.line(measure.against)
