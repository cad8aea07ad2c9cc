"""Workers are started until every cell has its row, whatever becomes of them; engines here are made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from attnbench import store
from attnbench.engines import driving
from attnbench.engines.driving import Drive, Workforce
from attnbench.engines.engine import Engine, WorkerCount, WorkerOrder
from attnbench.engines.progress import FleetProgress
from attnbench.engines.site import SiteProfile
from attnbench.errors import EngineError, NoMachineError
from attnbench.fleet import planned
from attnbench.fleet.kinds import HardwareKind
from attnbench.fleet.leases import Leases
from attnbench.fleet.presence import Presence
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status
from attnbench.runs.job import Settings

CELLS = tuple(Cell(mechanism=name, height=side, width=side) for side in (32, 64, 96) for name in ("a", "b"))
EPYC, XEON = HardwareKind(name="epyc", device="cpu"), HardwareKind(name="xeon", device="cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class _NothingToSay:
    """Options of an engine that has none."""


class StandIn(Engine):
    """An engine whose workers do at once what a list says, and are gone; the last of the list goes on."""

    name = "stand-in"
    Options = _NothingToSay
    poll_s = 0.0

    def __init__(self, folder: Path, *does: Callable[[WorkerOrder], object]) -> None:
        super().__init__(folder, self.Options())
        self.does, self.started, self.earlier, self.withdrawn = [*does], [], WorkerCount(), 0

    def count(self, order: WorkerOrder) -> WorkerCount:
        return self.earlier

    def start(self, order: WorkerOrder, workers: int) -> str:
        self.started.append(f"{order.kind} {workers}")
        does = self.does.pop(0) if len(self.does) > 1 else self.does[0]
        does(order)
        return f"{workers}"

    def shown(self, order: WorkerOrder, workers: int) -> str:
        return ""

    def withdraw(self, order: WorkerOrder) -> bool:
        self.earlier, self.withdrawn = WorkerCount(), self.withdrawn + 1
        return True


def measures(order: WorkerOrder, most: int = 100) -> None:
    """As a worker does, with nothing measured: take groups, write rows, let go."""
    work = FleetProgress(order.folder)
    presence = Presence(order.folder)
    held = Leases(order.folder, presence.folder / "worker.json")
    with store.Store(presence.folder) as kept:
        for name, (_, group) in list(work.without_rows(order.kind).items())[:most]:
            assert held.take(name, 1)
            for cell in group.cells:
                kept.append(Record(cell=cell, status=Status.OK, kind=order.kind))
            held.let_go(name, 1)
    presence.end("done")


def measures_one(order: WorkerOrder) -> None:
    measures(order, most=1)


def dies(order: WorkerOrder) -> None:
    """As a worker that is killed before it has a row, its log kept."""
    logs = order.folder / "engines" / "stand-in"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "1.log").write_text("attnbench: no mechanism of the name b\n\n")


def is_not_there(order: WorkerOrder) -> None:
    raise NoMachineError("it has a, b")


def drive(
    folder: Path, engine: StandIn, *kinds: HardwareKind, machines: int = 2
) -> tuple[driving.DriveOutcome, list[str]]:
    sweeps = {kind.name: Sweep(cells=CELLS, baselines={}) for kind in kinds} or {"": Sweep(cells=CELLS, baselines={})}
    plan = planned.plan_of(sweeps, settings=Settings(), command="attnbench run", kinds=kinds)
    planned.keep(folder, plan)
    forces = driving.workforces(plan.groups, engine=engine, site=SiteProfile(), machines=machines)
    said: list[str] = []
    outcome = Drive(folder=folder, engine=engine, forces=forces, say=said.append, sleep=lambda _: None).run()
    return outcome, said


def statuses(folder: Path) -> dict[tuple[str, str], str]:
    return {record.unit: record.status.value for record in store.read(folder)}


def test_workers_are_as_many_as_there_are_machines_and_no_more_than_groups(tmp_path: Path) -> None:
    for machines, said in ((1, "epyc 1"), (2, "epyc 2"), (9, "epyc 3")):
        engine = StandIn(tmp_path / said, measures)
        outcome, _ = drive(engine.folder, engine, EPYC, machines=machines)
        assert (engine.started, outcome.done, outcome.cells, outcome.refused) == ([said], 6, 6, ())


def test_what_a_lost_worker_left_is_started_for_anew(tmp_path: Path) -> None:
    engine = StandIn(tmp_path, measures_one, dies, measures)
    outcome, _ = drive(tmp_path, engine, EPYC)
    assert engine.started == ["epyc 2"] * 3
    assert (outcome.done, len(statuses(tmp_path))) == (6, 6)


def test_workers_that_end_without_a_row_are_not_started_for_ever_and_their_last_words_are_said(tmp_path: Path) -> None:
    engine = StandIn(tmp_path, dies)
    outcome, _ = drive(tmp_path, engine, EPYC)
    assert engine.started == ["epyc 2"] * 3
    (why,) = outcome.refused
    assert why.startswith("epyc: 6 workers have ended without a row; the last one said 'attnbench: no mechanism of ")
    assert why.endswith("1.log")


def test_cells_of_a_kind_that_is_not_there_get_their_rows_with_the_reason_and_the_others_are_measured(
    tmp_path: Path,
) -> None:
    outcome, said = drive(tmp_path, StandIn(tmp_path, is_not_there, measures), EPYC, XEON)
    assert (outcome.done, outcome.cells, outcome.absent, outcome.refused) == (6, 12, 6, ())
    assert statuses(tmp_path) == {(cell.key, "epyc"): "absent" for cell in CELLS} | {
        (cell.key, "xeon"): "ok" for cell in CELLS
    }
    assert {record.reason for record in store.read(tmp_path) if record.kind == "epyc"} == {
        "no machine of epyc: it has a, b"
    }
    assert "epyc: no machine: it has a, b" in said


def test_such_rows_are_written_once_and_give_way_to_those_of_a_machine_that_comes_later(tmp_path: Path) -> None:
    drive(tmp_path, StandIn(tmp_path, is_not_there), EPYC)
    assert drive(tmp_path, StandIn(tmp_path, is_not_there), EPYC)[0].absent == 0
    late = Presence(tmp_path)
    with store.Store(late.folder) as kept:
        for number, cell in enumerate(CELLS):
            status = Status.FAILED if number % 2 else Status.OK
            kept.append(Record(cell=cell, status=status, kind="epyc", reason="" if status is Status.OK else "no"))
    late.end("done")
    outcome, _ = drive(tmp_path, StandIn(tmp_path, is_not_there), EPYC)
    assert (outcome.done, outcome.absent) == (6, 0)
    assert sorted(statuses(tmp_path).values()) == ["failed"] * 3 + ["ok"] * 3


def test_an_engine_that_takes_no_workers_is_said_and_costs_the_other_kinds_nothing(tmp_path: Path) -> None:
    def refuses(order: WorkerOrder) -> None:
        raise EngineError("invalid account")

    outcome, _ = drive(tmp_path, StandIn(tmp_path, refuses, measures), EPYC, XEON)
    assert outcome.refused == ("epyc: invalid account",)
    assert (outcome.done, outcome.cells, outcome.absent) == (6, 12, 0)


def test_workers_of_an_earlier_command_are_found_and_none_is_started_beside_them(tmp_path: Path) -> None:
    engine = StandIn(tmp_path, dies)
    engine.earlier = WorkerCount(running=1, waiting=1, why="Priority")
    looks = iter(range(5))

    def work_meanwhile(_: float) -> None:
        if next(looks) == 3:
            measures(force.order)
            engine.earlier = WorkerCount(waiting=1)

    planned.keep(tmp_path, planned.plan_of({"epyc": Sweep(cells=CELLS, baselines={})}, settings=Settings(), command=""))
    groups = [group for _, group in planned.united(planned.read(tmp_path)).values()]
    (force,) = driving.workforces(groups, engine=engine, site=SiteProfile(), machines=2)
    said: list[str] = []
    Drive(folder=tmp_path, engine=engine, forces=[force], say=said.append, sleep=work_meanwhile).run()
    assert (engine.started, engine.withdrawn) == ([], 1)
    assert said[0] == "epyc: 0 of 6 cells; 1 at work, 1 waiting (Priority)"


def test_an_engine_that_does_not_answer_is_asked_again_before_anything_is_started(tmp_path: Path) -> None:
    class Silent(StandIn):
        """An engine that answers the third question."""

        asked = 0

        def count(self, order: WorkerOrder) -> WorkerCount:
            self.asked += 1
            if self.asked < 3:
                raise EngineError("squeue: Unable to contact slurm controller")
            return WorkerCount()

    engine = Silent(tmp_path, measures)
    outcome, said = drive(tmp_path, engine, EPYC)
    assert (engine.started, outcome.done) == (["epyc 2"], 6)
    assert said.count("epyc: squeue: Unable to contact slurm controller; it is asked again") == 1


def test_a_worker_is_given_more_time_than_its_groups_are_expected_to_take() -> None:
    plan = planned.plan_of({"epyc": Sweep(cells=CELLS, baselines={})}, settings=Settings(max_time_s=50.0), command="")
    engine = StandIn(Path("/run"), dies)
    one, three = (
        driving.workforces(plan.groups, engine=engine, site=SiteProfile(), machines=machines)[0].order
        for machines in (1, 3)
    )
    whole_s = sum(group.needs.seconds for group in plan.groups)
    assert one.seconds >= whole_s + 600
    assert whole_s / 3 + 600 <= three.seconds < one.seconds
    assert one.longest_s == max(group.needs.seconds for group in plan.groups)


@pytest.mark.parametrize("machines", [None, 4])
def test_an_order_says_who_it_is_for(tmp_path: Path, machines: int | None) -> None:
    plan = planned.plan_of({"epyc": Sweep(cells=CELLS, baselines={})}, settings=Settings(), command="")
    here, there = StandIn(tmp_path, dies), StandIn(tmp_path / "other", dies)
    how = {"site": SiteProfile(), "machines": machines, "words": ["--require-idle", "60"]}
    (force,) = driving.workforces(plan.groups, engine=here, **how)
    assert isinstance(force, Workforce)
    assert force.machines == (3 if machines else 1)
    assert force.order.arguments == ("work", str(tmp_path), "--kind", "epyc", "--require-idle", "60")
    (other,) = driving.workforces(plan.groups, engine=there, **how)
    assert other.order.name != force.order.name
