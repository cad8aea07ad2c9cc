"""What each part of a page becomes in Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.report.page.blocks import (
    Align,
    Block,
    Book,
    Code,
    Column,
    Entry,
    Heading,
    Line,
    Listing,
    Measure,
    Paragraph,
    Picture,
    Piece,
    Sheet,
    Table,
    Tone,
)
from attnbench.report.page.markdown import markdown

COLUMNS = (Column(heading="who"), Column(heading="how much", align=Align.RIGHT))


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Heading(text="a|b", level=3), r"### a\|b"),
        (Paragraph(("in ", Piece("a|b", Tone.CODE), ", ", Piece("so *so*", Tone.STRONG))), r"in `a\|b`, **so \*so\***"),
        (Listing(points=("one", Piece("two", Tone.FAINT))), "- one\n- two"),
        (Listing(points=("one", "two"), numbered=True), "1. one\n2. two"),
        (Code(text="echo '```'", language="sh"), "````sh\necho '```'\n````"),
        (Picture(path=Path("run/plots/a b.png"), caption="a b"), "![a b](plots/a%20b.png)"),
        (Table(columns=COLUMNS, rows=(("x|y", "1"),)), "| who | how much |\n| :--- | ---: |\n| x\\|y | 1 |"),
    ],
)
def test_a_block(block: Block, text: str) -> None:
    assert markdown((block,), Path("run")) == f"{text}\n"


def test_a_row_of_another_length_than_the_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="2 columns, and a row of 1 cells"):
        Table(columns=COLUMNS, rows=(("x",),))


def test_a_book_has_its_signs_explained_its_failures_in_their_rows_and_its_notes_by_number() -> None:
    measures = {"t": Measure(heading="latency", unit="ms"), "r": Measure(heading="vs", against="b", meaning="a ratio")}
    best = Entry(value="1.0", interval="[0.9, 1.1]", brief="±0.1", best=True)
    lines = (Line(name="a", notes=(1,), entries={"t": best}), Line(name="b", entries={}, failure="timeout: 5 s"))
    text = markdown((Book(sheets=(Sheet(title="small", measures=measures, lines=lines),), notes=("padded",)),), Path())
    assert "vs: a ratio." in text.splitlines()[0]
    assert text.splitlines()[2:] == [
        "### Small",
        "",
        "| mechanism | latency (ms) | vs b |",
        "| :--- | ---: | ---: |",
        "| a <sup>1</sup> | **1.0** [0.9, 1.1] | – |",  # noqa: RUF001 - an en dash
        "| b | **timeout** | – |",  # noqa: RUF001
        "",
        "### Notes",
        "",
        "1. padded",
    ]
