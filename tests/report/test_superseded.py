"""A report leaves no plot beside it that it does not show."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from attnbench.record import Cell, Record, Scope, Status
from attnbench.report import superseded
from attnbench.runs import reporting
from attnbench.store.records import Store

CELL = Cell(mechanism="mhsa", scope=Scope.LAYER, height=64, width=64, stage=3, dim=8, heads=2, depth=1)


def report(run: Path, *cells: Cell) -> set[str]:
    with Store(run) as kept:
        for cell in cells:
            kept.append(Record(cell=cell, status=Status.OK, metrics={"macs": 64, "memory_peak_bytes": 2**20}))
    reporting.make_report([run], out=run, console=Console(file=io.StringIO()), command="attnbench report")
    return {path.name for path in (run / "plots").iterdir()} - {superseded.MADE}


def test_plots_whose_names_no_longer_say_enough_go_and_what_others_put_there_stays(tmp_path: Path) -> None:
    first = report(tmp_path, CELL)
    assert {"memory.png", "memory.svg", "macs.png", "macs.svg"} <= first
    (tmp_path / "plots" / "mine.png").write_bytes(b"")
    second = report(tmp_path, replace(CELL, dtype="bfloat16"))
    assert not {"memory.png", "memory.svg"} & second
    assert {"mine.png", "macs.png", "macs.svg"} <= second
    page = (tmp_path / "report.md").read_text()
    assert all(name == "mine.png" or f"({'plots/' + name})" in page for name in second if name.endswith(".png"))


def test_only_plots_that_a_list_names_are_removed_and_none_out_of_the_folder(tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    plots.mkdir()
    others = [tmp_path / "outside.png", plots / "notes.txt", plots / "mine.png"]
    for path in (*others, plots / "old.png", plots / "kept.png"):
        path.touch()
    listed = ["old.png", "../outside.png", str(tmp_path / "outside.png"), "notes.txt", "kept.png", 5, ".."]
    (plots / superseded.MADE).write_text(json.dumps(listed))
    superseded.remove(plots, drawn=[plots / "kept.png"])
    assert all(path.exists() for path in (*others, plots / "kept.png"))
    assert not (plots / "old.png").exists()
    assert json.loads((plots / superseded.MADE).read_text()) == ["kept.png"]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[[]]", "null", "\x00"])
def test_a_list_that_is_none_removes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.png").touch()
    (tmp_path / superseded.MADE).write_text(text)
    superseded.remove(tmp_path, drawn=[])
    assert (tmp_path / "mine.png").exists()
