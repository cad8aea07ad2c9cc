"""A screen shows of a large run what a reader can look at, and says how much it leaves out."""

import gc
import io
from pathlib import Path

import many_records
import pandas as pd
import pytest
from records_for_reports import default_run, failed, row
from rich.console import Console

from attnbench.report.comparison import prepared
from attnbench.report.excerpt import MOST_LINES, excerpt
from attnbench.report.page.blocks import Book
from attnbench.report.sheet import book
from attnbench.runs import reporting


def book_of(rows: pd.DataFrame) -> Book:
    return book(prepared(rows))


def many(count: int, **columns: object) -> pd.DataFrame:
    return pd.DataFrame([row(f"m{place}", label=f"m{place}", **columns) for place in range(count)])


def test_what_fits_is_shown_as_it_is() -> None:
    whole = book_of(default_run())
    assert excerpt(whole) is whole
    assert whole.left_out == ""


def test_of_many_rows_the_best_and_the_failed_stay_in_their_order() -> None:
    rows = many(500)
    fastest = rows["latency_median_s"].idxmin()
    rows = pd.concat([rows, pd.DataFrame([failed("last", 224, "crashed", "killed by signal 9")])], ignore_index=True)
    found = excerpt(book_of(rows))
    names = [line.name for line in found.sheets[0].lines]
    assert len(names) <= MOST_LINES
    assert f"m{fastest}" in names
    assert "last" in names
    assert "rows of 501, 1 of which did not end ok" in found.left_out


def test_notes_of_what_is_shown_alone_are_told_and_numbered_from_one() -> None:
    rows = many(500).assign(adaptation=[f"padded by {place}" for place in range(500)])
    found = excerpt(book_of(rows))
    used = [note for line in found.sheets[0].lines for note in line.notes]
    assert sorted(set(used)) == list(range(1, len(found.notes) + 1))
    assert all(
        f"adapted: padded by {line.name[1:]}" == found.notes[line.notes[0] - 1] for line in found.sheets[0].lines
    )


@pytest.mark.parametrize(("mechanisms", "width"), [(14, 80), (14, 200), (300, 80)])
def test_a_report_of_a_large_run_takes_two_hundred_lines_at_most(tmp_path: Path, mechanisms: int, width: int) -> None:
    many_records.write(tmp_path / "run", 2400, mechanisms=mechanisms)
    screen = io.StringIO()
    reporting.make_report(
        [tmp_path / "run"], out=tmp_path / "out", console=Console(file=screen, width=width), command=""
    )
    lines = screen.getvalue().splitlines()
    assert len(lines) <= 200
    assert any("Shown: " in line for line in lines)
    assert len(list((tmp_path / "out" / "plots").iterdir())) < 80


def test_a_report_leaves_the_garbage_collector_as_it_was(tmp_path: Path) -> None:
    many_records.write(tmp_path / "run", 20, mechanisms=5)
    before = gc.get_threshold()
    reporting.make_report([tmp_path / "run"], out=tmp_path / "out", console=Console(file=io.StringIO()), command="")
    assert gc.get_threshold() == before
