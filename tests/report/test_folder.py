"""Each file of a report is made by itself: one that cannot be costs no other, and is named."""

from __future__ import annotations

import errno
import io
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.errors import StoreError
from attnbench.record import Cell, Record, Status
from attnbench.report import folder as report_folder
from attnbench.report.console import console
from attnbench.report.findings import Findings
from attnbench.runs import reporting
from attnbench.store import Store

CELL = Cell(mechanism="mhsa", height=224, width=224)
OK = {"latency_median_s": 0.01, "macs": 5, "params": 5, "memory_peak_bytes": 9, "throughput_img_per_s": 100.0}
RECORDS = [
    Record(cell=replace(CELL, mechanism=name, height=side, width=side), status=Status.OK, metrics=OK, run_id="r")
    for name in ("mhsa", "qna")
    for side in (224, 448)
]
PAGES = ("records.csv", "crossovers.csv", "report.md", "report.html")
FILES = (*PAGES, "plots/latency.png", "plots/macs.svg", "plots/memory.png")


def raising(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [TypeError("no log of it"), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize(
    ("place", "missing"),
    [
        ("attnbench.report.folder.write_csv", "records.csv"),
        ("attnbench.report.folder.standings.write_csv", "crossovers.csv"),
        ("attnbench.report.folder.document", "report.md"),
        ("attnbench.report.folder.html.page", "report.html"),
        ("attnbench.report.plots._cost", "plots/"),
        ("attnbench.report.plots.save", "plots/"),
        ("attnbench.report.plots.split", "plots/"),
        ("attnbench.report.folder.superseded.remove", "none"),
    ],
)
def test_what_one_file_cannot_do_costs_no_other(
    place: str, missing: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, raising(error))
    _, failures = report_folder.write(Findings.of(RECORDS), tmp_path, {}, command="attnbench run", missing=())
    assert failures
    assert all("was not written: " in line for line in failures)
    assert {name for name in FILES if not (tmp_path / name).exists()} == {
        name for name in FILES if name.startswith(missing)
    }


def test_one_plot_that_cannot_be_drawn_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.report import plots

    drawn = plots._cost

    def cost(metric: str, *rest: object) -> object:
        if metric == "macs":
            raise TypeError("no log of it")
        return drawn(metric, *rest)

    monkeypatch.setattr(plots, "_cost", cost)
    _, failures = report_folder.write(Findings.of(RECORDS), tmp_path, {}, command="attnbench run", missing=())
    assert failures == ["the plot macs was not written: TypeError: no log of it"]
    assert (tmp_path / "plots" / "latency.png").is_file()
    assert "plots/latency.png" in (tmp_path / "report.md").read_text()


def test_the_screen_is_shown_and_the_line_comes_last_with_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path / "run") as kept:
        for record in RECORDS:
            kept.append(record)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.md").mkdir()
    screen = io.StringIO()
    with pytest.raises(
        StoreError, match=r"report.md was not written: Is a directory\nthe rows are kept; attnbench report"
    ):
        reporting.make_report(
            [tmp_path / "run"], out=tmp_path / "out", console=console(file=screen, width=99), command=""
        )
    assert "resolution 224" in screen.getvalue()
    assert "records.csv" in screen.getvalue()


def test_files_come_before_the_screen(tmp_path: Path) -> None:
    with Store(tmp_path) as kept:
        for record in RECORDS:
            kept.append(record)

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        reporting.make_report([tmp_path], out=tmp_path, console=console(file=Full(), width=99), command="")
    assert [name for name in FILES if not (tmp_path / name).exists()] == []
