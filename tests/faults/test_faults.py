"""Whatever befalls a run from outside: no row that was said to be there is lost, the rest is measured, a line says what
happened, and the same command completes it."""

from __future__ import annotations

import ast
import functools
import os
import tempfile
from pathlib import Path

import pytest
from fault_kinds import FAULTS, Fault, Scene
from hostile_kinds import KINDS
from jumping_worker import YEAR_S
from typed_runs import completed, rows_of, typed, well_said

import attnbench
from attnbench.runs import runner, session

LEAST_FAULTS, LEAST_HOSTILE = 60, 40
QUICK = 9
"""Of so many kinds one is in the normal suite, the others in ``tox -e faults``."""


@pytest.fixture(autouse=True)
def _scratch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


def marked(place: int, name: str) -> object:
    apart = "killed" in name  # and waits for others to start, a minute on a busy machine
    return pytest.param(FAULTS[name], id=name, marks=[pytest.mark.slow] if place % QUICK or apart else [])


@pytest.mark.parametrize("fault", [marked(place, name) for place, name in enumerate(FAULTS)])
def test_a_fault_costs_no_row_and_the_same_command_completes_the_run(tmp_path: Path, fault: Fault) -> None:
    with pytest.MonkeyPatch.context() as patch:
        scene = Scene(tmp_path / "run", patch)
        scene.watch_rows()
        fault.inject(scene)
        first = typed(scene.folder)
        acknowledged = list(scene.appended)
    fault.mend(scene)
    assert first.status in fault.statuses, first.said
    assert fault.said in first.said, first.said
    well_said(first)
    there = rows_of(scene.folder)
    if moved := scene.folder.with_name("elsewhere").is_dir():
        there |= rows_of(scene.folder.with_name("elsewhere"))
    assert all(there[record.cell.key] == record for record in acknowledged), first.said
    rows = completed(scene.folder)
    assert moved or all(rows[record.cell.key] == record for record in acknowledged)  # not measured again
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_kinds_are_as_many_as_promised() -> None:
    assert len(KINDS) >= LEAST_HOSTILE
    assert len(FAULTS) >= LEAST_FAULTS


WALL_CLOCK = {
    "attnbench/devices/environment.py",  # when it was taken
    "attnbench/fleet/presence.py",  # when a worker was heard of, for who looks at it
    "attnbench/runs/rows.py",  # the name of a run, and when a row was begun
    "attnbench/selfcheck/kept.py",  # when it was made
    "attnbench/store/records.py",  # the name of what is put aside
}


def test_nothing_is_timed_or_waited_for_by_the_wall_clock() -> None:
    root = Path(__file__).parents[2]
    users = set()
    for path in (root / "attnbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in {"time", "time_ns", "now", "utcnow", "gmtime"}:
                named = ast.unparse(node)
                if named.startswith(("time.", "datetime.")):
                    users.add(path.relative_to(root).as_posix())
    assert users == WALL_CLOCK


@pytest.mark.slow
def test_a_worker_whose_wall_clock_jumps_measures_what_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"), prepend=os.pathsep)
    monkeypatch.setattr(session.runner, "run", functools.partial(runner.run, worker_module="jumping_worker"))
    found = attnbench.run(
        mechanisms=["xca"],
        baseline="none",
        scope="layer",
        res=[32],
        max_time=0.2,
        isolation="spawn",
        progress=False,
        out=tmp_path / "run",
    )
    for record in found.records:
        assert record.status == "ok", record.reason
        assert 0 < record.metrics["latency_ci_low_s"] <= record.metrics["latency_ci_high_s"] < YEAR_S / 100
