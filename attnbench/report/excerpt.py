"""What of a book fits on a screen: all of it, or the first comparisons with what matters in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from attnbench.report.page.blocks import Book, Line, Sheet

MOST_LINES = 130
"""Lines of the tables, headings included."""
_OF_A_SHEET = 20
"""Lines that a comparison is cut to where not all of them fit."""
_FIRST_BEST, _FIRST_FAILED = 8, 3
_OF_HEADINGS = 5
_NAME = 16
"""Characters of a name in a narrow column: longer ones take more lines."""


def excerpt(whole: Book) -> Book:
    """Return what of a book is shown on a screen, with those notes alone that it refers to, numbered anew."""
    if sum(map(_height, whole.sheets)) <= MOST_LINES:
        return whole
    sheets: list[Sheet] = []
    room = MOST_LINES
    most = max(_OF_A_SHEET, MOST_LINES // len(whole.sheets) - _OF_HEADINGS)
    for sheet in whole.sheets:
        cut = _cut(sheet, most)
        if sheets and _height(cut) > room:
            break
        sheets.append(cut)
        room -= _height(cut)
    return replace(_renumbered(whole, sheets), left_out=_told(whole, sheets))


def _height(sheet: Sheet) -> int:
    return _OF_HEADINGS + sum(map(_lines_of, sheet.lines))


def _lines_of(line: Line) -> int:
    return max(1 + len(line.name) // _NAME if len(line.name) > _NAME else 1, 3 if line.failure else 1)


def _cut(sheet: Sheet, most: int) -> Sheet:
    """Return a sheet with some of its best lines, some that failed, then more of both, then the first ones."""
    bests = [_bests(line) for line in sheet.lines]
    best = sorted(filter(bests.__getitem__, range(len(bests))), key=lambda place: -bests[place])
    failed = [place for place, line in enumerate(sheet.lines) if line.failure]
    order = dict.fromkeys((*best[:_FIRST_BEST], *failed[:_FIRST_FAILED], *best, *failed, *range(len(sheet.lines))))
    kept = set[int]()
    for place in order:
        most -= _lines_of(sheet.lines[place])
        if most < 0 and kept:
            break
        kept.add(place)
    return replace(sheet, lines=tuple(line for place, line in enumerate(sheet.lines) if place in kept))


def _bests(line: Line) -> int:
    return sum(entry.best for entry in line.entries.values())


def _renumbered(whole: Book, sheets: Sequence[Sheet]) -> Book:
    used = dict.fromkeys(note for sheet in sheets for line in sheet.lines for note in line.notes)
    numbers = {note: number for number, note in enumerate(used, start=1)}
    return replace(
        whole,
        sheets=tuple(
            replace(sheet, lines=tuple(_with_notes(line, numbers) for line in sheet.lines)) for sheet in sheets
        ),
        notes=tuple(whole.notes[note - 1] for note in used),
    )


def _with_notes(line: Line, numbers: Mapping[int, int]) -> Line:
    return replace(line, notes=tuple(numbers[note] for note in line.notes))


def _told(whole: Book, sheets: Sequence[Sheet]) -> str:
    rows = sum(len(sheet.lines) for sheet in whole.sheets)
    shown = sum(len(sheet.lines) for sheet in sheets)
    failed = sum(bool(line.failure) for sheet in whole.sheets for line in sheet.lines)
    failures = f", {failed} of which did not end ok" if failed else ""
    return (
        f"Shown: {shown:,} rows of {rows:,}{failures}, in {len(sheets):,} of {len(whole.sheets):,} tables, of each the "
        "best and what failed first. All are in report.md and records.csv."
    )
