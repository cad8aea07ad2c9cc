"""Reports of runs on disk: rows are made once, and a run of the first format is read, reported and gone on with."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from attnbench import store
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Scope, Status
from attnbench.report import comparison, rows
from attnbench.runs import reporting, session
from attnbench.runs.job import Settings
from attnbench.runs.rows import samples_of

FIRST_FORMAT = Path(__file__).parents[2] / "results" / "reference" / "claims-intel-xeon-2-cores"
SOME = 12


def report(folder: Path) -> str:
    reporting.make_report([folder], out=folder, console=Console(file=io.StringIO()), command="attnbench report")
    return (folder / "report.md").read_text()


def test_a_report_makes_and_prepares_its_rows_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(mechanism="mhsa", scope=Scope.LAYER, height=64, width=64, stage=3, dim=8, heads=2, depth=1)
    with store.Store(tmp_path) as kept:
        for batch in (1, 2, 4):
            kept.append(Record(cell=replace(cell, batch=batch), status=Status.OK, metrics={"macs": 64}))
    seen: list[str] = []
    for module, name in ((rows, "_row"), (comparison, "_machines")):
        work = getattr(module, name)
        monkeypatch.setattr(module, name, lambda given, work=work, name=name: seen.append(name) or work(given))
    report(tmp_path)
    assert sorted(seen) == ["_machines", "_row", "_row", "_row"]


def test_a_run_of_format_1_is_read_reported_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (FIRST_FORMAT / store.RECORDS).read_text().splitlines(keepends=True)[:SOME]
    assert {json.loads(line)["format"] for line in lines} == {1}
    (tmp_path / store.RECORDS).write_text("".join(lines))
    records = store.read(tmp_path)
    timed = [record.cell for record in records if "latency_median_s" in record.metrics]
    assert [cell for cell in timed if not samples_of(FIRST_FORMAT, cell).exists()] == []
    assert timed

    added = replace(records[0].cell, batch=7)
    sweep = Sweep(
        cells=(*(record.cell for record in records), added),
        baselines={},
        endings={added.key: (Status.UNSUPPORTED, "for a test")},
    )
    monkeypatch.setattr(session.machine_limits, "measure", lambda *_, **__: {})
    outcome = session.measure(
        sweep, settings=Settings(), folder=tmp_path, fresh=False, retry=False, console=Console(file=io.StringIO()),
        command="attnbench run",
    )  # fmt: skip
    assert [record.cell for record in outcome.records] == [*(record.cell for record in records), added]
    assert (tmp_path / store.RECORDS).read_text().startswith("".join(lines))
    page = report(tmp_path)
    assert all(record.cell.mechanism in page for record in records)
