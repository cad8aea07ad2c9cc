"""How a table is set on a screen: which columns, how wide, and with which form of interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from attnbench.metrics import GIVEN_UP
from attnbench.report.sheet import Book, Entry, Line

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
    metrics = list(book.sheets[0].headings)
    longest = max(len(line.name) + len(superscript(*line.notes)) for sheet in book.sheets for line in sheet.lines)
    wide, narrow = (min(width, longest) for width in _LABEL_WIDTHS)
    tried = [_layout(book, metrics, label=wide, short=short, gap=2) for short in (False, True)]
    tried.append(_layout(book, metrics, label=narrow, short=True, gap=1))
    for given_up in GIVEN_UP:
        metrics = [metric for metric in metrics if metric != given_up]
        tried.append(_layout(book, metrics, label=narrow, short=True, gap=1))
    found = next((layout for layout in tried if layout.width <= room), tried[-1])
    return replace(found, label=min(longest, found.label + max(0, room - found.width)))


def superscript(*notes: int) -> str:
    """Return the numbers of notes as they stand beside a name."""
    return " ".join(str(note).translate(_SUPERSCRIPTS) for note in notes)


def _layout(book: Book, metrics: list[str], *, label: int, short: bool, gap: int) -> Layout:
    lines: list[Line] = [line for sheet in book.sheets for line in sheet.lines]
    widths = {}
    for metric in metrics:
        entries = [line.entries[metric] for line in lines if metric in line.entries]
        value = max([len(entry.value) for entry in entries], default=1)
        interval = max([len(entry.brief if short else entry.interval) for entry in entries], default=0)
        heading = max(len(word) for sheet in book.sheets for word in sheet.headings[metric])
        taken = value + 1 + (interval + 1 if interval else 0)
        widths[metric] = (value + max(0, heading - taken), interval)
    return Layout(label=label, widths=widths, short=short, gap=gap)
