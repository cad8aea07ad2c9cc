"""A page on a terminal, set by rich."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from attnbench import inert
from attnbench.report.page.blocks import (
    Block,
    Book,
    Code,
    Heading,
    Listing,
    Page,
    Paragraph,
    Picture,
    Table,
    Tone,
    Words,
    pieces,
)
from attnbench.report.page.sheets import ScreenBook

_STYLES = {
    Tone.PLAIN: "",
    Tone.STRONG: "bold",
    Tone.FAINT: "dim",
    Tone.GOOD: "green",
    Tone.BAD: "bold red",
    Tone.DOUBTFUL: "yellow",
    Tone.CODE: "cyan",
}


def show(page: Page, console: Console) -> None:
    """Show a page."""
    console.print(screen(page), crop=False)


def screen(page: Page) -> RenderableType:
    """Return a page for ``Console.print``, a blank line between its parts, none between a heading and what follows."""
    return Group(*_with_gaps(page))


def _with_gaps(page: Page) -> Iterator[RenderableType]:
    before: Block | None = None
    for block in page:
        if before is not None and not isinstance(before, Heading):
            yield Text()
        yield from _set(block)
        before = block


def _set(block: Block) -> Iterator[RenderableType]:
    match block:
        case Heading():
            yield Text(inert.line(block.text), style="bold cyan")
        case Paragraph():
            yield _said(block.words)
        case Listing():
            yield _list(block)
        case Table():
            yield _table(block)
        case Book():
            yield ScreenBook(book=block)
        case Code():
            # What is typed is copied: a terminal folds a long line, and a line break of ours would be part of it.
            yield Text(inert.shown(block.text), style=_STYLES[Tone.CODE], no_wrap=True, overflow="ignore")
        case Picture():
            yield Text(inert.line(os.fspath(block.path)))


def _table(table: Table) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim", show_header=any(c.heading for c in table.columns))
    for column in table.columns:
        heading = inert.line(column.heading)
        grid.add_column(Text(heading), justify=column.align.value, overflow="fold", no_wrap=column.unbroken)
    for row in table.rows:
        grid.add_row(*map(_said, row))
    return grid


def _list(listing: Listing) -> Grid:
    grid = Grid.grid(padding=(0, 1))
    for number, point in enumerate(listing.points, start=1):
        grid.add_row(f"{number}." if listing.numbered else "-", _said(point))
    return grid


def _said(words: Words) -> Text:
    said = Text(overflow="fold")
    for piece in pieces(words):
        said.append(inert.shown(piece.text), _STYLES[piece.tone])
    return said
