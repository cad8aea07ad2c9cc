"""What the project promises of a sweep of ten thousand cells over many machines, on two CPU cores and a local disk."""

from __future__ import annotations

import os
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


def told(what: str, seconds: float, more: str = "") -> None:
    print(f"\n{what}: {seconds:.2f} s{more}; load {os.getloadavg()[0]:.1f}", end="")  # noqa: T201


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which five mechanisms are planned in two thousand groups; tests go on with it, in their order."""
    cells = tuple(many_records.cells(CELLS, mechanisms=5))
    made, began = tmp_path_factory.mktemp("fleet") / "run", time.monotonic()
    planning.keep(made, planned.plan_of({"": Sweep(cells=cells, baselines={})}, settings=Settings(), command="plan"))
    told(f"{CELLS} cells planned", time.monotonic() - began)
    (made.parent / "planned_s").write_text(str(time.monotonic() - began))
    return made


@pytest.mark.slow
def test_ten_thousand_cells_are_planned_in_two_seconds(folder: Path) -> None:
    assert float((folder.parent / "planned_s").read_text()) < 2


@pytest.mark.slow
def test_eight_workers_take_fifty_groups_a_second(folder: Path) -> None:
    begun = [
        subprocess.Popen([sys.executable, str(WORKER), str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(WORKERS)
    ]
    spans = [[float(word) for word in each.communicate()[0].split()] for each in begun]
    groups = len(planned.united(planned.read(folder)))
    took_s = max(end for _, end in spans) - min(begin for begin, _ in spans)
    told(f"{groups} groups by {WORKERS} workers", took_s, f", {groups / took_s:.0f} groups/s")
    assert len(store.read(folder)) == CELLS
    assert groups / took_s > 50


@pytest.mark.slow
def test_how_far_they_are_is_said_in_a_second(folder: Path) -> None:
    began = time.monotonic()
    assert status.take(folder).done
    took_s = time.monotonic() - began
    told("status", took_s)
    assert took_s < 1


@pytest.mark.slow
def test_what_all_have_measured_is_reported_in_twenty_seconds(folder: Path) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "attnbench.cli.main", "report", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    took_s = time.monotonic() - began
    told("report", took_s)
    assert took_s < 20
