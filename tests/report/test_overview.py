"""A large run is one table: mechanisms down, resolutions across."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from records_for_reports import counted_only, default_run, failed, row
from rich.console import Console

from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.overview import overview
from attnbench.report.page.blocks import Paragraph, Table, pieces
from attnbench.report.page.screen import screen

SIZES = (112, 160, 224, 288, 320, 384, 448, 512)
NAMES = ("mhsa", *(f"m{place}" for place in range(13)))


def large(**columns: object) -> pd.DataFrame:
    rows = [row(name, size, **columns) for size in SIZES for name in NAMES]
    rows[-1] = failed("m12", 512, "out-of-memory", "too large", **columns)
    for each in rows:
        each["is_baseline"] = each["mechanism"] == "mhsa"
    return pd.DataFrame(rows)


def findings(frame: pd.DataFrame) -> Findings:
    return Findings(rows=prepared(frame))


def shown(frame: pd.DataFrame, width: int) -> list[str]:
    out = io.StringIO()
    page = overview(findings(frame))
    assert page
    Console(file=out, width=width).print(screen(page))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_small_run_needs_none() -> None:
    assert overview(findings(default_run())) is None


@pytest.mark.parametrize("width", [80, 120])
def test_fourteen_mechanisms_at_eight_resolutions_are_one_table(width: int) -> None:
    lines = shown(large(), width)
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["mechanism", *map(str, SIZES)]
    assert len(lines) <= len(NAMES) + 6
    assert lines[1].split()[:3] == ["mhsa", "(ms)", "1.00*"]
    assert lines[14].split()[-1] == "oom"
    assert "oom: out-of-memory" in " ".join(lines)


def test_the_figures_are_those_of_the_tables() -> None:
    found = findings(large())
    page = overview(found)
    assert page
    (table,) = [block for block in page if isinstance(block, Table)]
    for size, sheet in enumerate(found.book.sheets, start=1):
        for line, cells in zip(sheet.lines, table.rows, strict=True):
            entry = line.entries.get("latency_median_s" if line.name == "mhsa" else "latency_ratio")
            said = "".join(piece.text for piece in pieces(cells[size]))
            if entry:
                assert said.startswith(entry.value)
                assert said.endswith("*") is entry.best


def test_each_set_of_conditions_has_its_own_and_what_is_left_out_is_said() -> None:
    frame = pd.concat([large(batch=batch) for batch in range(1, 8)])
    page = overview(findings(frame))
    assert page
    assert sum(isinstance(block, Table) for block in page) == 5
    assert isinstance(page[-1], Paragraph)
    said = "".join(piece.text for piece in pieces(page[-1].words))
    assert said.startswith("Shown: 560 of 784 rows.")


def test_without_latencies_the_multiply_adds_are_shown() -> None:
    counts = pd.concat([counted_only().assign(res_height=size, res_width=size) for size in range(64, 1064, 50)])
    page = overview(findings(counts))
    assert page
    assert isinstance(page[-1], Paragraph)
    assert "MACs per image" in "".join(piece.text for piece in pieces(page[-1].words))
