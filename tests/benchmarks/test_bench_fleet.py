"""What the project promises of a sweep of ten thousand cells over many machines, on two CPU cores and a local disk.

By the wall clock, on a machine with nothing else to do; what was used of a core, which others on the machine do not
change, is printed beside it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import many_records
import pytest

from attnbench import store
from attnbench.fleet import planned, planning, status
from attnbench.plan.sweep import Sweep
from attnbench.runs.job import Settings

CELLS = 10_000
WORKERS = 8
WORKER = Path(__file__).parents[1] / "helpers" / "stand_in_worker.py"


class Took:
    """Times its body: on the wall, and of a core, this process and those that it waited for."""

    def __enter__(self) -> Took:
        self._begun = time.monotonic(), self._cpu_s()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s, self.core_s = time.monotonic() - self._begun[0], self._cpu_s() - self._begun[1]

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s, {self.core_s:.2f} s of a core; load {os.getloadavg()[0]:.1f}"

    @staticmethod
    def _cpu_s() -> float:
        used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.fixture(scope="module")
def planned_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Took]:
    """A folder in which five mechanisms are planned in two thousand groups; tests go on with it, in their order."""
    cells, folder = tuple(many_records.cells(CELLS, mechanisms=5)), tmp_path_factory.mktemp("fleet") / "run"
    with Took() as took:
        sweep = Sweep(cells=cells, baselines={})
        planning.keep(folder, planned.plan_of({"": sweep}, settings=Settings(), command="attnbench plan"))
    return folder, took


@pytest.mark.slow
def test_ten_thousand_cells_are_planned_in_two_seconds(planned_run: tuple[Path, Took]) -> None:
    print(f"\n{CELLS} cells planned: {planned_run[1]}", end="")  # noqa: T201
    assert planned_run[1].wall_s < 2


@pytest.mark.slow
def test_eight_workers_take_fifty_groups_a_second(planned_run: tuple[Path, Took]) -> None:
    folder = planned_run[0]
    with Took() as took:
        begun = [
            subprocess.Popen([sys.executable, str(WORKER), str(folder)], stdout=subprocess.PIPE, text=True)
            for _ in range(WORKERS)
        ]
        spans = [[float(word) for word in each.communicate()[0].split()] for each in begun]
    groups = len(planned.united(planned.read(folder)))
    a_second = groups / (max(end for _, end in spans) - min(begin for begin, _ in spans))
    print(f"\n{groups} groups by {WORKERS} workers: {a_second:.0f} groups/s, their start left out; {took}", end="")  # noqa: T201
    assert len(store.read(folder)) == CELLS
    assert a_second > 50


@pytest.mark.slow
def test_how_far_they_are_is_said_in_a_second(planned_run: tuple[Path, Took]) -> None:
    with Took() as took:
        assert status.take(planned_run[0]).done
    print(f"\nstatus: {took}", end="")  # noqa: T201
    assert took.wall_s < 1


@pytest.mark.slow
def test_what_all_have_measured_is_reported_in_twenty_seconds(planned_run: tuple[Path, Took]) -> None:
    command = [sys.executable, "-m", "attnbench.cli.main", "report", str(planned_run[0])]
    with Took() as took:
        subprocess.run(command, check=True, capture_output=True)
    print(f"\nreport: {took}", end="")  # noqa: T201
    assert took.wall_s < 20
