"""A page as Markdown, as GitHub and most others read it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from attnbench import files, inert
from attnbench.errors import StoreError
from attnbench.report.page.blocks import (
    Align,
    Block,
    Book,
    Code,
    Entry,
    Heading,
    Line,
    Listing,
    Measure,
    Page,
    Paragraph,
    Picture,
    Piece,
    Sheet,
    Table,
    Tone,
    Words,
    pieces,
)

NOT_MEASURED = "–"  # noqa: RUF001 - an en dash is what typesetters put into an empty cell
_RULES = {Align.LEFT: ":---", Align.RIGHT: "---:"}
_BOLD = {Tone.STRONG, Tone.GOOD, Tone.BAD, Tone.DOUBTFUL}


def put(page: Page, file: Path) -> None:
    """Write a page as a Markdown file, its folder too where there is none.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.put(file, markdown(page, file.parent))
    except OSError as error:
        raise StoreError(f"cannot write {file}: {files.reason_of(error)}; give another file") from None


def markdown(page: Page, folder: Path) -> str:
    """Return a page as the text of a Markdown file.

    Args:
        page: what is said.
        folder: where the file is to lie; pictures are linked relative to it.
    """
    parts = (part for block in page for part in _set(block, folder))
    return "\n\n".join(parts) + "\n"


def _set(block: Block, folder: Path) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{'#' * block.level} {inert.markdown(block.text)}"
        case Paragraph():
            yield _said(block.words)
        case Listing():
            yield _list(block.points, numbered=block.numbered)
        case Table():
            headings = [inert.markdown(column.heading) for column in block.columns]
            yield _table(headings, [column.align for column in block.columns], (map(_said, row) for row in block.rows))
        case Book():
            yield from _book(block)
        case Code():
            yield inert.code_block(block.text, language=block.language)
        case Picture():
            link = Path(os.path.relpath(block.path, folder)).as_posix()
            yield f"![{inert.markdown(block.caption)}]({inert.link(link)})"


def _book(book: Book) -> Iterator[str]:
    """Yield the signs explained, a table for each sheet, and the notes by the numbers beside the names."""
    if book.sheets:
        yield _legend(book.sheets[0].measures.values())
    for sheet in book.sheets:
        yield f"### {inert.markdown(sheet.title[:1].upper() + sheet.title[1:])}"
        yield _sheet(sheet)
    if book.notes:
        yield "### Notes"
        yield _list(book.notes, numbered=True)


def _legend(measures: Iterable[Measure]) -> str:
    meanings = "; ".join(f"{measure.heading}: {measure.meaning}" for measure in measures if measure.meaning)
    return (
        "Bold: best of its table, or its interval overlaps the best's; italic: the same of the others. Only cells that "
        "ended ok are ranked. "
        f"Brackets: 95 % intervals.{f' {inert.markdown(meanings)}.' if meanings else ''}"
    )


def _sheet(sheet: Sheet) -> str:
    metrics = list(sheet.measures)
    headings = ["mechanism", *map(_heading, sheet.measures.values())]
    if any(line.failure and len(line.entries) == len(metrics) for line in sheet.lines):
        headings, metrics = [*headings, "status"], [*metrics, ""]
    aligned = [Align.LEFT, *[Align.RIGHT] * len(metrics)]
    return _table(map(inert.markdown, headings), aligned, map(partial(_cells, metrics=metrics), sheet.lines))


def _heading(measure: Measure) -> str:
    unit = f"({measure.unit})" if measure.unit else measure.against
    return f"{measure.heading} {unit}".rstrip()


def _cells(line: Line, metrics: Sequence[str]) -> list[str]:
    """Return a line's cells, the status in the first of them for which nothing was measured."""
    notes = ",".join(map(str, line.notes))
    found = [_number(line.entries[metric]) if metric in line.entries else NOT_MEASURED for metric in metrics]
    if line.failure and NOT_MEASURED in found:
        found[found.index(NOT_MEASURED)] = f"**{inert.markdown(line.status)}**"
    return [inert.markdown(line.name) + (f" <sup>{notes}</sup>" if notes else ""), *found]


def _number(entry: Entry) -> str:
    value = f"**{entry.value}**" if entry.best else f"*{entry.value}*" if entry.second else entry.value
    return f"{value} {entry.interval}".rstrip()


def _list(points: Iterable[Words], *, numbered: bool) -> str:
    return "\n".join(
        f"{f'{number}.' if numbered else '-'} {_said(point)}" for number, point in enumerate(points, start=1)
    )


def _table(headings: Iterable[str], aligned: Iterable[Align], body: Iterable[Iterable[str]]) -> str:
    rules = [_RULES[align] for align in aligned]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rules, *body))


def _said(words: Words) -> str:
    return "".join(map(_piece, pieces(words)))


def _piece(piece: Piece) -> str:
    if piece.tone is Tone.CODE:
        return inert.code(piece.text)
    # inert.markdown strips what surrounds a text; between pieces blanks part words.
    inside = inert.markdown(piece.text)
    if not inside:
        return " " if piece.text else ""
    text = f"**{inside}**" if piece.tone in _BOLD else inside
    start, end = (" " * side.isspace() for side in (piece.text[0], piece.text[-1]))
    return f"{start}{text}{end}"
