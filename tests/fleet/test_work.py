"""Many workers on one folder: every cell has one row in the end, whoever was killed and whoever was silent."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runs import FAKE_WORKER

from attnbench import store
from attnbench.cli.main import attnbench
from attnbench.errors import UsageError
from attnbench.fleet import lacking, leases, planned, planning, status
from attnbench.fleet.kinds import HardwareKind, read
from attnbench.fleet.leases import Leases
from attnbench.fleet.means import MachineMeans
from attnbench.fleet.presence import BEAT, Liveness, Observer, Presence
from attnbench.fleet.row_index import RowIndex
from attnbench.fleet.work import FleetWork
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status
from attnbench.runs import limits
from attnbench.runs.job import SPAWN, Settings
from attnbench.store import merging, parts
from attnbench.verify import verify

HELPERS = Path(__file__).parents[1] / "helpers"
HERE = MachineMeans(devices=("cpu",), hardware=("AMD EPYC 7B13",), cores=4, memory_bytes=2**34)
CELLS = tuple(Cell(mechanism=name, height=side, width=side) for side in (32, 64, 96, 128) for name in ("a", "b"))
ONE_WORKER = f"""
import sys
from dataclasses import replace
from pathlib import Path
from attnbench.fleet.means import MachineMeans
from attnbench.fleet.work import FleetWork
from attnbench.runs import limits
limits.measure = lambda *_, **__: {{}}
means = MachineMeans(devices=("cpu",), hardware=("AMD EPYC 7B13",), cores=4, memory_bytes=2**34)
FleetWork(folder=Path(sys.argv[1]), means=means, worker_module={FAKE_WORKER!r}).run()
"""


@pytest.fixture(autouse=True)
def _nothing_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
    monkeypatch.setattr(limits, "measure", lambda *_, **__: {})


def planned_in(folder: Path, *kinds: HardwareKind, cells: tuple[Cell, ...] = CELLS) -> planned.SweepPlan:
    sweeps = {kind.name: Sweep(cells=cells, baselines={}) for kind in kinds} or {"": Sweep(cells=cells, baselines={})}
    made = planned.plan_of(sweeps, settings=Settings(isolation=SPAWN), command="attnbench plan", kinds=kinds)
    planned.keep(folder, made)
    return made


def work(folder: Path, means: MachineMeans = HERE, **how: object) -> FleetWork:
    return FleetWork(folder=folder, means=means, worker_module=FAKE_WORKER, **how)


def test_a_plan_is_read_as_it_was_written_and_the_same_plan_is_one_file(tmp_path: Path) -> None:
    made = planned_in(tmp_path, HardwareKind(name="epyc", device="cpu"))
    planned_in(tmp_path, HardwareKind(name="epyc", device="cpu"))
    assert planned.read(tmp_path) == (made,)
    assert made.cells == 8
    assert len(made.groups) == 4


def test_plans_of_one_comparison_are_one_group_with_the_cells_of_all(tmp_path: Path) -> None:
    planned_in(tmp_path, cells=CELLS[:1])
    planned_in(tmp_path, cells=CELLS[1:2])
    ((_, group),) = planned.united(planned.read(tmp_path)).values()
    assert {cell.mechanism for cell in group.cells} == {"a", "b"}


def test_a_worker_measures_all_and_a_second_one_finds_nothing_left(tmp_path: Path) -> None:
    planned_in(tmp_path)
    assert work(tmp_path).run().rows == 8
    assert work(tmp_path).run().rows == 0
    assert {record.cell.key: record.status for record in store.read(tmp_path)} == {cell.key: "ok" for cell in CELLS}
    found = status.take(tmp_path)
    assert found.done
    assert [(kind.done, kind.groups_done, kind.groups_taken) for kind in found.kinds] == [(8, 4, 0)]
    assert [worker.ended for worker in found.workers] == ["done", "done"]


def test_what_is_done_is_a_cell_on_a_kind_of_hardware(tmp_path: Path) -> None:
    kinds = (HardwareKind(name="epyc", device="cpu"), HardwareKind(name="xeon", device="cpu"))
    planned_in(tmp_path, *kinds)
    ended = work(tmp_path).run()
    assert (ended.rows, ended.unfit) == (8, 4)
    assert {record.kind for record in store.read(tmp_path)} == {"epyc"}
    told = MachineMeans(devices=("cpu",), hardware=(), cores=4, memory_bytes=2**34, kind="xeon")
    assert work(tmp_path, told).run().rows == 8
    assert sorted(record.kind for record in store.read(tmp_path)) == ["epyc"] * 8 + ["xeon"] * 8


def test_a_machine_takes_only_what_it_can_do(tmp_path: Path) -> None:
    cells = tuple(replace(cell, device="cuda:0") for cell in CELLS)
    group = planned_in(tmp_path, HardwareKind(name="h100", device="cuda:0"), cells=cells).groups[0]
    kinds = {"h100": HardwareKind(name="h100", device="cuda:0")}
    gpu = MachineMeans(
        devices=("cpu",), hardware=("AMD EPYC 7B13", "NVIDIA H100 80GB HBM3"), cores=4, memory_bytes=2**34
    )
    assert not gpu.suffice(group, kinds)
    assert MachineMeans(devices=("cpu", "cuda:0"), hardware=gpu.hardware, cores=4, memory_bytes=2**34).suffice(
        group, kinds
    )
    assert not MachineMeans(devices=("cuda:0",), hardware=gpu.hardware, cores=0, memory_bytes=2**34).suffice(
        group, kinds
    )


def test_a_folder_without_a_plan_and_a_kind_that_is_none_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is planned"):
        work(tmp_path).run()
    planned_in(tmp_path, HardwareKind(name="epyc", device="cpu"))
    told = MachineMeans(devices=("cpu",), hardware=(), cores=4, memory_bytes=2**34, kind="epic")
    with pytest.raises(UsageError, match="did you mean epyc"):
        work(tmp_path, told).run()


def test_kinds_are_read_with_the_device_that_they_are() -> None:
    found = read(["h100", "epyc", "box=cpu"], {})
    assert [(kind.name, kind.device) for kind in found] == [("h100", "cuda:0"), ("epyc", "cpu"), ("box", "cpu")]
    with pytest.raises(UsageError, match="nothing says which device"):
        read(["box"], {})
    with pytest.raises(UsageError, match="more than once"):
        read(["epyc", "epyc"], {})


def test_of_many_that_want_a_lease_one_has_it(tmp_path: Path) -> None:
    ours = [Presence(tmp_path) for _ in range(8)]
    group = "0" * 16
    for number in (1, 2):
        took = [Leases(tmp_path, each.folder / "worker.json").take(group, number) for each in ours]
        assert took == [True] + [False] * 7
    lease = leases.held(tmp_path)[group]
    assert (lease.number, leases.holder(tmp_path, lease)) == (2, ours[0].facts)
    for each in ours:
        each.end("done")


def test_without_links_a_lease_is_one_workers_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    ours = [Presence(tmp_path) for _ in range(2)]
    assert [Leases(tmp_path, each.folder / "worker.json").take("0" * 16, 1) for each in ours] == [True, False]


def elsewhere(folder: Path) -> Presence:
    """A worker of another machine, which cannot be looked for among the processes of this one."""
    other = Presence(folder, beat_s=3600)
    facts = other.folder / "worker.json"
    facts.write_text(facts.read_text().replace(other.facts.boot, "another kernel"))
    return other


def test_silence_is_told_by_the_observers_own_clock_alone(tmp_path: Path) -> None:
    other, now = elsewhere(tmp_path), [0.0]
    facts = leases.files.json_of(other.folder / "worker.json", type(other.facts))
    os.utime(other.folder / BEAT, (0, 0))  # a clock that is decades behind
    observer = Observer(tmp_path, silent_s=60, clock_s=lambda: now[0])
    assert observer.of(facts, facts.name) is Liveness.NOT_KNOWN
    now[0] = 59
    other._say()
    assert observer.of(facts, facts.name) is Liveness.ALIVE
    now[0] = 118
    assert observer.of(facts, facts.name) is Liveness.ALIVE
    now[0] = 119
    assert observer.of(facts, facts.name) is Liveness.SILENT


def test_a_group_of_a_worker_that_is_silent_is_taken_over_and_it_writes_no_more(tmp_path: Path) -> None:
    made = planned_in(tmp_path, cells=CELLS[:2])
    other = elsewhere(tmp_path)
    theirs = Leases(tmp_path, other.folder / "worker.json")
    assert theirs.take(made.groups[0].name, 1)
    assert theirs.holds(made.groups[0].name, 1)
    assert work(tmp_path, silent_s=0.0).run().rows == 2
    assert not theirs.holds(made.groups[0].name, 1)


def test_who_falls_silent_while_others_work_is_not_watched_for_as_long_again(tmp_path: Path) -> None:
    made = planned_in(tmp_path, cells=CELLS)
    other = elsewhere(tmp_path)
    Leases(tmp_path, other.folder / "worker.json").take(made.groups[0].name, 1)
    waits: list[float] = []
    assert work(tmp_path, silent_s=0.001, sleep=waits.append).run().rows == len(CELLS)
    assert not waits


def test_a_group_of_a_worker_that_lives_is_left_to_it(tmp_path: Path) -> None:
    made = planned_in(tmp_path, cells=CELLS[:2])
    other = elsewhere(tmp_path)
    Leases(tmp_path, other.folder / "worker.json").take(made.groups[0].name, 1)
    ended = work(tmp_path, sleep=lambda _: other._say()).run()
    assert (ended.rows, ended.elsewhere) == (0, 1)


def test_a_lease_that_expired_under_a_living_worker_costs_no_second_row(tmp_path: Path) -> None:
    made = planned_in(tmp_path, cells=CELLS[:2])
    rival = Presence(tmp_path)

    def taken_over(_: str) -> None:
        Leases(tmp_path, rival.folder / "worker.json").take(made.groups[0].name, 2)
        rival.end("done")  # so that it is gone when this one looks

    ended = work(tmp_path, say=taken_over).run()
    assert ended.lost == 1
    assert len(store.read(tmp_path)) == 2


def test_what_a_killed_worker_left_is_said_and_no_finding_once_another_has_measured_it(tmp_path: Path) -> None:
    planning.keep(tmp_path, planned_in(tmp_path, cells=CELLS[:1]))
    left = tmp_path / parts.WORKERS / "a"
    with store.Store(left):
        (left / "samples" / f"{CELLS[0].key}.npz").touch()
    assert {each.figure for each in verify(left, counts=False).findings} == {f"row of cell {CELLS[0].key}", "file"}
    ended = work(tmp_path).run()
    found = verify(left, counts=False)
    assert found.holds
    assert any(each.reason.endswith(f"its row is with {ended.name}") for each in found.unchecked)


def test_who_is_at_work_on_what_is_said(tmp_path: Path) -> None:
    made = planned_in(tmp_path, cells=CELLS[:2])
    other = elsewhere(tmp_path)
    other.turn_to(made.groups[0].name)
    found = status.take(tmp_path)
    (worker,) = found.workers
    assert (worker.at_work_on, worker.ended, worker.gone, found.at_work) == (
        "a, b at 32 infer float32 cpu",
        "",
        False,
        1,
    )


def test_of_a_worker_whose_group_was_taken_over_that_is_said_and_not_that_it_is_at_work(tmp_path: Path) -> None:
    made = planned_in(tmp_path, cells=CELLS[:2])
    other = elsewhere(tmp_path)
    other.turn_to(made.groups[0].name)
    Leases(tmp_path, other.folder / "worker.json").take(made.groups[0].name, 1)
    heir = work(tmp_path, silent_s=0.0).run()
    found = status.take(tmp_path)
    lost = {worker.name: worker.lost_to for worker in found.workers}
    assert lost == {other.facts.name: heir.name, heir.name: ""}
    assert found.at_work == 0
    told = CliRunner().invoke(attnbench, ["status", str(tmp_path)]).output
    assert f"{other.facts.name}: silent, its group taken over by {heir.name}; last heard of" in told


def absent(part: Path) -> list[str]:
    """What verify misses among the rows that were asked for."""
    return [each.figure for each in verify(part, counts=False).findings if each.figure.startswith("row of cell")]


def test_a_row_on_one_kind_of_hardware_is_none_on_another(tmp_path: Path) -> None:
    kinds = (HardwareKind(name="epyc", device="cpu"), HardwareKind(name="xeon", device="cpu"))
    cell = replace(CELLS[0], mechanism="unsupported")
    planning.keep(tmp_path, planned_in(tmp_path, *kinds, cells=(cell,)))
    work(tmp_path).run()
    (part,) = parts.of(tmp_path)
    assert absent(part) == [f"row of cell {cell.key} on xeon"]
    assert lacking.units(tmp_path).there == {(cell.key, "epyc")}
    assert [*lacking.units(tmp_path).lacking.values()] == ["unsupported at 32 infer float32 cpu on xeon"]
    merging.merge([tmp_path], tmp_path.with_suffix(".merged"))
    (part,) = parts.of(tmp_path.with_suffix(".merged"))
    assert absent(part) == [f"row of cell {cell.key} on xeon"]
    told = MachineMeans(devices=("cpu",), hardware=(), cores=4, memory_bytes=2**34, kind="xeon")
    work(tmp_path, told).run()
    assert [absent(part) for part in parts.of(tmp_path)] == [[], []]


def test_of_two_rows_of_a_cell_one_counts_by_no_clock(tmp_path: Path) -> None:
    failed = Record(cell=CELLS[0], status=Status.FAILED, reason="none", started_at="2026-01-01T12:00:00+00:00")
    ok = Record(cell=CELLS[0], status=Status.OK, started_at="2026-01-01T11:00:00+00:00")
    again = Record(cell=CELLS[0], status=Status.OK, started_at="2026-01-01T13:00:00+00:00")
    for name, record in (("a", failed), ("b", ok), ("c", again)):
        with store.Store(tmp_path / parts.WORKERS / name) as kept:
            kept.append(record)
    assert store.read(tmp_path) == [ok]
    assert [each.folder.name for each in store.placed(tmp_path)] == ["b"]


def test_a_row_that_says_that_no_machine_was_there_keeps_no_worker_from_its_cell(tmp_path: Path) -> None:
    planned_in(tmp_path, cells=CELLS[:2])
    with store.Store(tmp_path / parts.WORKERS / "a") as kept:
        for cell in CELLS[:2]:
            kept.append(Record(cell=cell, status=Status.ABSENT, reason="no machine of epyc"))
    assert status.take(tmp_path).done
    assert work(tmp_path).run().rows == 2
    assert [record.status for record in store.read(tmp_path)] == [Status.OK] * 2


def test_what_was_not_timed_for_a_limit_is_measured_again_under_a_higher_one(tmp_path: Path) -> None:
    groups = planned_in(tmp_path, cells=CELLS[:1]).groups
    over = Record(cell=CELLS[0], status=Status.OVER_BUDGET, settings={"max_latency_s": 0.01})
    with store.Store(tmp_path / parts.WORKERS / "a") as kept:
        kept.append(over)
    rows = RowIndex(tmp_path, {})
    rows.refresh()
    limited = Settings(max_latency_s=0.01)
    assert [rows.is_done(groups[0], each) for each in (limited, replace(limited, max_latency_s=0.02))] == [True, False]
    assert work(tmp_path).run().rows == 1
    assert [record.status for record in store.read(tmp_path)] == [Status.OK]


def killed(folder: Path, kills: int) -> None:
    """Start two workers at a time and kill them at moments drawn by lot; one that is left alone does the rest."""
    planned_in(folder)
    chance = random.Random(kills)
    for _ in range(kills):
        begun = [subprocess.Popen([sys.executable, "-c", ONE_WORKER, str(folder)]) for _ in range(2)]
        for each in begun:
            try:
                each.wait(chance.uniform(0.3, 2.5))
            except subprocess.TimeoutExpired:
                each.send_signal(signal.SIGKILL)
            each.wait()
    assert work(folder).run().elsewhere == 0
    rows = store.read(folder)
    assert {record.cell.key: record.status for record in rows} == {cell.key: "ok" for cell in CELLS}
    assert len(rows) == len(CELLS)


def test_workers_that_are_killed_lose_no_cell_and_none_counts_twice(tmp_path: Path) -> None:
    killed(tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_kills_lose_no_cell_and_none_counts_twice(tmp_path: Path) -> None:
    for run in range(25):
        killed(tmp_path / f"run{run}", 4)
