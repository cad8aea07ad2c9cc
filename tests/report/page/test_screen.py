"""What each part of a page becomes on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from attnbench.report.page.blocks import (
    Align,
    Code,
    Column,
    Heading,
    Listing,
    Page,
    Paragraph,
    Picture,
    Piece,
    Table,
    Tone,
)
from attnbench.report.page.screen import screen, show


def shown(page: Page, **console: object) -> str:
    out = io.StringIO()
    Console(file=out, width=40, **console).print(screen(page))  # type: ignore[arg-type]
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def test_a_command_is_one_line_however_narrow_the_terminal_is() -> None:
    out = io.StringIO()
    command = "attnbench run --mechanisms " + ",".join(f"mechanism{place}:option=value" for place in range(9))
    show((Code(text=command),), Console(file=out, width=40))
    assert out.getvalue() == f"{command}\n"


def test_a_blank_line_parts_blocks_and_none_stands_under_a_heading() -> None:
    page = (
        Heading(text="A"),
        Paragraph("text"),
        Listing(points=("x", "y")),
        Code(text="z"),
        Picture(path=Path("p.png"), caption=""),
    )
    assert shown(page) == "A\ntext\n\n- x\n- y\n\nz\n\np.png\n"


def test_a_table_is_flush_as_its_columns_say_and_folds_what_has_no_room() -> None:
    columns = (Column(heading="name"), Column(heading="value", align=Align.RIGHT, unbroken=True))
    text = shown((Table(columns=columns, rows=(("a" * 60, "1"), ("b", "20"))),))
    assert max(map(len, text.splitlines())) == 40
    assert text.count("a") == 61 + 1
    assert [line.split()[-1] for line in text.splitlines() if line.endswith(("1", "20"))] == ["1", "20"]


def test_a_table_without_headings_has_no_line_for_them() -> None:
    assert shown((Table(columns=(Column(heading=""),) * 2, rows=(("a", "b"),)),)) == "a  b\n"


def test_tones_are_styles_where_there_are_colours_and_nothing_else() -> None:
    page = (Paragraph((Piece("bad", Tone.BAD), " and plain")),)
    assert shown(page) == "bad and plain\n"
    assert "\x1b[1;31mbad" in shown(page, force_terminal=True, color_system="standard")


def test_what_strangers_wrote_is_neither_obeyed_nor_markup() -> None:
    text = shown((Heading(text="[bold]x\x1b[31m"), Paragraph("\x1b]0;t\x07"), Listing(points=("[red]y",))))
    assert "\x1b" not in text
    assert "[bold]x" in text
    assert "[red]y" in text
