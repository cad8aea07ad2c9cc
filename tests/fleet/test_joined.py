"""``attnbench run`` in a folder that many machines share is one worker of it, and then the report."""

from __future__ import annotations

import functools
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import FAKE_WORKER

from attnbench import store
from attnbench.devices.idle import IdleWait
from attnbench.errors import StoreError, UsageError
from attnbench.fleet import joined, planned, planning
from attnbench.fleet.kinds import HardwareKind
from attnbench.fleet.means import MachineMeans
from attnbench.fleet.work import FleetWork
from attnbench.plan.preflight import Preflight
from attnbench.plan.request import Request
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status
from attnbench.report.console import console
from attnbench.runs import limits, reporting, session
from attnbench.runs.job import SPAWN, Settings
from attnbench.store import parts

HERE = MachineMeans(devices=("cpu",), hardware=("AMD EPYC 7B13",), cores=4, memory_bytes=2**34)
SETTINGS = Settings(isolation=SPAWN)
CELLS = tuple(Cell(mechanism=name, height=32, width=32) for name in ("a", "b"))
REQUEST = Request.of(mechanisms=("a", "b"), res=("32",))


def plan_of(cells: tuple[Cell, ...] = CELLS, *kinds: HardwareKind) -> planned.SweepPlan:
    sweeps = {kind.name: Sweep(cells=cells, baselines={}) for kind in kinds} or {"": Sweep(cells=cells, baselines={})}
    return planned.plan_of(sweeps, settings=SETTINGS, command="attnbench run", kinds=kinds)


@pytest.fixture(autouse=True)
def _nothing_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"), prepend=os.pathsep)
    monkeypatch.setattr(limits, "measure", lambda *_, **__: {})
    monkeypatch.setattr(planning, "plan", lambda *_, **__: plan_of())
    monkeypatch.setattr(joined.preflight, "take", lambda _: Preflight(findings=(), devices=("cpu",)))
    monkeypatch.setattr(MachineMeans, "here", lambda *_, **__: HERE)
    monkeypatch.setattr(joined, "FleetWork", functools.partial(FleetWork, worker_module=FAKE_WORKER))


def measure(folder: Path, *, retry: bool = False, **how: float) -> session.SessionOutcome:
    screen = console(file=io.StringIO())
    return joined.measure(
        REQUEST,
        settings=SETTINGS,
        folder=folder,
        fresh=False,
        retry=retry,
        console=screen,
        command="attnbench run",
        **how,
    )


def test_it_measures_what_is_left_of_the_folder_and_returns_what_it_asked_for(tmp_path: Path) -> None:
    planning.keep(tmp_path, plan_of((Cell(mechanism="c", height=64, width=64),)))
    assert {record.cell.mechanism for record in measure(tmp_path).records} == {"a", "b"}
    assert {record.cell.mechanism for record in store.read(tmp_path)} == {"a", "b", "c"}
    assert len(parts.of(tmp_path)) == 1


def test_a_folder_is_shared_where_something_is_planned_in_it_or_kinds_are_named(tmp_path: Path) -> None:
    kinds = [HardwareKind(name="h100", device="cuda:0"), HardwareKind(name="epyc", device="cpu")]
    assert joined.folder_for(REQUEST, (), tmp_path) is None
    assert joined.folder_for(REQUEST, kinds, tmp_path) == tmp_path
    named = joined.folder_for(REQUEST, kinds, None)
    assert named is not None
    assert named.name == f"{session.folder_of(REQUEST).name}-h100+epyc"
    planning.keep(tmp_path, plan_of())
    assert joined.folder_for(REQUEST, (), tmp_path) == tmp_path


def test_a_retry_measures_again_what_did_not_end_ok_and_its_row_counts(tmp_path: Path) -> None:
    planning.keep(tmp_path, plan_of())
    fine = Record(cell=CELLS[0], status=Status.OK, run_id="first")
    failed = Record(cell=CELLS[1], status=Status.TIMEOUT, reason="too slow", run_id="first")
    with store.Store(tmp_path / parts.WORKERS / "a") as kept:
        kept.append(fine)
        kept.append(failed)
    assert [record.run_id for record in measure(tmp_path).records] == ["first", "first"]
    again = {record.cell.mechanism: record for record in measure(tmp_path, retry=True).records}
    assert again["a"] == fine
    assert (again["b"].status, again["b"].run_id == "first") == (Status.OK, False)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a")])
def test_of_rows_that_did_not_end_ok_one_of_the_last_retry_counts(names: tuple[str, ...], tmp_path: Path) -> None:
    rows = [Record(cell=CELLS[0], status=Status.FAILED, reason=f"{number}") for number in range(3)]
    for number, name in enumerate(names):
        with store.Store(tmp_path / parts.WORKERS / name) as kept:
            kept.append(rows[number])
        parts.name_retry(tmp_path / parts.WORKERS / name, number)
    assert [row.reason for row in store.read(tmp_path)] == ["2"]


def test_a_machine_that_is_to_be_idle_and_is_not_times_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IdleWait, "wait", lambda _: "the machine was not idle within 5 s: others")
    monkeypatch.setattr(reporting, "make_report", lambda *_, **__: None)
    assert measure(tmp_path, idle_within_s=5.0).records == ()
    with pytest.raises(StoreError, match="not idle within 5 s: others; run the same command to go on"):
        joined.run(
            REQUEST,
            settings=SETTINGS,
            kinds=(),
            folder=tmp_path,
            fresh=False,
            retry=False,
            console=console(file=io.StringIO()),
            command="attnbench run",
            idle_within_s=5.0,
        )
    counted = tuple(replace(cell, task="counts") for cell in CELLS)
    monkeypatch.setattr(planning, "plan", lambda *_, **__: plan_of(counted))
    assert len(measure(tmp_path / "counted", idle_within_s=5.0).records) == 2


def test_a_shared_folder_is_not_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--fresh: others may be at work"):
        joined.measure(
            REQUEST, settings=SETTINGS, folder=tmp_path, fresh=True, retry=False, console=console(), command=""
        )


def test_a_worker_that_was_told_its_kind_measures_a_cell_once_for_any_machine_and_for_that_kind(tmp_path: Path) -> None:
    box = HardwareKind(name="box", device="cpu")
    planning.keep(tmp_path, plan_of())
    planning.keep(tmp_path, plan_of(CELLS, box))
    told = FleetWork(folder=tmp_path, means=replace(HERE, kind="box"), worker_module=FAKE_WORKER)
    assert told.run().rows == len(CELLS)
