"""Whatever happens to workers, submitters, clocks and the disk, in the end every cell has exactly one row."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_faults import FULL, READ_ONLY, SLOW, WELL, disk_of, plan_again, work_on

from attnbench import store
from attnbench.fleet import planned, planning, status
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell
from attnbench.runs.job import Settings
from attnbench.store import parts

CELLS = tuple(Cell(mechanism=name, height=side, width=side) for side in range(32, 32 * 13, 32) for name in ("a", "b"))
FAULTS = ("kill", "kill", "kill", "stop", "stop", "submitter", FULL, READ_ONLY, SLOW)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["fleet_faults"])


class Troubled:
    """Three workers on a folder, to which faults happen; who has ended is followed by another."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.made = planned.plan_of(
            {"": Sweep(cells=CELLS, baselines={})}, settings=Settings(), command="attnbench plan"
        )
        planning.keep(folder, self.made)
        self.workers: list[multiprocessing.process.BaseProcess] = []
        self.happened: Counter[str] = Counter()

    def begin(self) -> None:
        """Have three workers alive, on machines and with clocks of their own."""
        self.workers = [each for each in self.workers if each.is_alive()]
        while len(self.workers) < 3:
            number = self.chance.randrange(10**6)
            how = {"machine": self.chance.choice(["", f"machine {number}"]), "hours": self.chance.uniform(-1, 1)}
            worker = PROCESSES.Process(target=work_on, args=(self.folder, number), kwargs=how)
            worker.start()
            self.workers.append(worker)

    def suffer(self) -> None:
        """Have a fault happen."""
        fault, victim = self.chance.choice(FAULTS), self.chance.choice(self.workers)
        self.happened[fault] += 1
        if fault == "kill":
            victim.kill()
        elif fault == "stop":  # until its lease has expired, and then it lives on
            with stopped(victim):
                time.sleep(self.chance.uniform(0.1, 1.2))
        elif fault == "submitter":
            submitter = PROCESSES.Process(target=plan_again, args=(self.folder, self.made))
            submitter.start()
            time.sleep(self.chance.uniform(0.0, 0.3))
            submitter.kill()
            submitter.join()
        else:
            disk_of(self.folder).write_text(fault)
            time.sleep(self.chance.uniform(0.0, 0.5))
            disk_of(self.folder).write_text(WELL)

    def recover(self) -> None:
        """Have a worker that nothing happens to do the rest, the others going on beside it."""
        last = PROCESSES.Process(target=work_on, args=(self.folder, 0), kwargs={"machine": "the last one"})
        last.start()
        for each in (last, *self.workers):
            each.join()


@contextlib.contextmanager
def stopped(victim: multiprocessing.process.BaseProcess) -> Iterator[None]:
    """Keep a process from running."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.pid or 0, signal.SIGSTOP)
    yield
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.pid or 0, signal.SIGCONT)


def survived(folder: Path, *, faults: int, seed: int) -> Counter[str]:
    """Have so many faults happen in a folder, and see that every cell has one row in the end; return which happened."""
    folder.mkdir()
    troubled = Troubled(folder, seed)
    for _ in range(faults):
        troubled.begin()
        time.sleep(troubled.chance.uniform(0.0, 0.3))
        troubled.suffer()
    troubled.recover()
    rows = store.read(folder)
    assert Counter(row.cell.key for row in rows) == dict.fromkeys([cell.key for cell in CELLS], 1), f"seed {seed}"
    assert {row.status for row in rows} == {"ok"}
    assert status.take(folder).done
    within = [row.unit for part in parts.of(folder) for row in store.read(part / store.RECORDS)]
    assert set(within) == {row.unit for row in rows}  # whatever two have measured at once is there, and counts once
    return troubled.happened


def test_every_cell_has_one_row_after_some_faults(tmp_path: Path) -> None:
    assert survived(tmp_path / "run", faults=4, seed=1).total() == 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_cell_has_one_row_after_two_hundred_faults_of_all_kinds(tmp_path: Path) -> None:
    happened: Counter[str] = Counter()
    for seed in range(20):
        happened += survived(tmp_path / f"run{seed}", faults=10, seed=seed)
    assert happened.total() == 200
    assert set(happened) == set(FAULTS)
