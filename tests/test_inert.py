"""Text of strangers at every exit: terminal, Markdown, CSV, plots."""

from __future__ import annotations

import ast
import csv
import io
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.text import Text

from attnbench import inert
from attnbench.cli import main
from attnbench.errors import UsageError
from attnbench.record import Cell, Record, Status
from attnbench.report.console import console
from attnbench.runs import reporting
from attnbench.store import Store

ROOT = Path(__file__).parents[1]
NASTY = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a|b",
    "`x` $y$ ~~z~~ &amp;",
    "<script>alert(1)</script>",
    "[bold]not[/bold] [link=http://x]y[/link]",
    "two\nlines\r\nand more",
    "=cmd()",
    "@SUM(A1)",
    "+1+cmd()",
    "-1+cmd()",
    "\u202etxt.exe",
    "\x9b2Jc1",
)


@pytest.mark.parametrize("text", NASTY)
def test_what_is_shown_has_no_character_that_a_terminal_obeys(text: str) -> None:
    assert all(each.isprintable() for each in inert.line(text))
    assert all(each.isprintable() or each == "\n" for each in inert.shown(text))
    assert inert.line("grün, µs, ²") == "grün, µs, ²"


@pytest.mark.parametrize("text", NASTY)
def test_markdown_takes_it_as_it_stands(text: str) -> None:
    escaped = inert.markdown(text)
    assert "\n" not in escaped
    for sign in "|<`[*_&~$":
        assert escaped.count(sign) == escaped.count(f"\\{sign}")


def test_code_holds_backticks_and_bars() -> None:
    assert inert.code("plain") == "`plain`"
    assert inert.code("a`b``c|d") == "``` a`b``c\\|d ```"


def test_a_spreadsheet_runs_nothing_and_numbers_stay_numbers() -> None:
    assert [inert.spreadsheet(value) for value in ("=1", " =1", "@a", "+a", "-a")] == [
        "'=1",
        "' =1",
        "'@a",
        "'+a",
        "'-a",
    ]
    assert [inert.spreadsheet(value) for value in (-1.5, "-1.5", "+3", None, "qna")] == [
        -1.5,
        "-1.5",
        "+3",
        None,
        "qna",
    ]


def records() -> list[Record]:
    found = []
    for text in NASTY:
        cell = Cell(mechanism=text, options={"name": text}, distribution=text, height=224, width=224)
        ok = Record(cell=cell, status=Status.OK, metrics={"latency_median_s": 0.01, "params": 5}, run_id="r")
        found += [ok, replace(ok, cell=replace(cell, batch=2), status=Status.FAILED, reason=text, metrics={})]
        larger = replace(cell, height=448, width=448)
        found.append(replace(ok, cell=larger, metrics={**ok.metrics, "latency_median_s": 0.01 + len(found)}))
        found.append(replace(ok, cell=replace(cell, batch=3), metrics={**ok.metrics, "adaptation": text}))
    return found


def test_a_report_of_strangers_is_text_on_the_screen_in_markdown_and_in_csv(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for record in records():
            store.append(record)
    screen = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        reporting.make_report(
            [tmp_path], out=tmp_path, console=console(file=screen, width=100, force_terminal=True), command="\x1b[31mx"
        )
    without_styles = Text.from_ansi(screen.getvalue()).plain
    assert all(each.isprintable() or each == "\n" for each in without_styles)
    assert "\x1b]0;" not in screen.getvalue()
    assert "//x]y[/link]" in without_styles
    page = (tmp_path / "report.md").read_text()
    assert all(each.isprintable() or each == "\n" for each in page)
    assert "<script" not in page.replace("\\<script", "")
    for name in ("records.csv", "crossovers.csv"):
        with (tmp_path / name).open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert all(cell.isprintable() for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "@")) or ("cmd()" in cell[:6] and cell[0] in "+-")]


@pytest.mark.parametrize("text", NASTY)
def test_messages_of_errors_and_warnings_are_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UsageError(text)

    monkeypatch.setattr(main, "attnbench", fail)
    monkeypatch.setattr(main.sys, "argv", ["attnbench"])
    shown = CliRunner().invoke(main.click.Command("x", callback=main.main)).output
    assert shown.startswith("attnbench: ")
    assert all(each.isprintable() or each == "\n" for each in shown)


def test_only_one_module_escapes() -> None:
    """Patterns of characters that Markdown means something by stand in one place."""
    for path in (ROOT / "attnbench").rglob("*.py"):
        if path.name != "inert.py":
            texts = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
            assert not [text for text in texts if isinstance(text, str) and "<>|" in text], path
