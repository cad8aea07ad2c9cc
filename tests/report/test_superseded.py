"""A report leaves no plot beside it that it does not show."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from attnbench.record import Cell, Record, Scope, Status
from attnbench.report import superseded
from attnbench.runs import session
from attnbench.store.records import Store

CELL = Cell(mechanism="mhsa", scope=Scope.LAYER, height=64, width=64, stage=3, dim=8, heads=2, depth=1)


def report(run: Path, *cells: Cell) -> set[str]:
    with Store(run) as kept:
        for cell in cells:
            kept.append(Record(cell=cell, status=Status.OK, metrics={"macs": 64, "memory_peak_bytes": 2**20}))
    session.make_report([run], out=run, console=Console(file=io.StringIO()), command="attnbench report")
    return {path.name for path in (run / "plots").iterdir()}


def test_plots_whose_names_no_longer_say_enough_go_and_what_others_put_there_stays(tmp_path: Path) -> None:
    first = report(tmp_path, CELL)
    assert {"memory.png", "memory.svg", "macs.png", "macs.svg"} <= first
    (tmp_path / "plots" / "mine.png").write_bytes(b"")
    second = report(tmp_path, replace(CELL, dtype="bfloat16"))
    assert not {"memory.png", "memory.svg"} & second
    assert {"mine.png", "macs.png", "macs.svg"} <= second
    page = (tmp_path / "report.md").read_text()
    assert all(name == "mine.png" or f"({'plots/' + name})" in page for name in second if name.endswith(".png"))


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    page = tmp_path / "report.md"
    page.write_text("![a](plots/a%20b.png)\n![b](../b.png)\n![c](/tmp/c.png)\nsee ![d](d.png)\n![e](x/../../e.png)\n")
    assert superseded.shown_by(page) == [tmp_path / "plots" / "a b.png", tmp_path / "plots" / "a b.svg"]
    assert superseded.shown_by(tmp_path / "none.md") == []
