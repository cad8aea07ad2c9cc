"""Whatever befalls a run from outside: no row that was said to be there is lost, the rest is measured, a line says what
happened, and the same command completes it."""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import io
import os
import signal
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_kinds import FAULTS, Fault, Scene
from hostile_kinds import KINDS

from attnbench import store
from attnbench.cli import main as command_line
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell
from attnbench.runs import runner, session

CELLS = tuple(Cell(mechanism=name, height=side, width=side) for side in (32, 64) for name in ("a", "b"))
LEAST_KINDS, LEAST_HOSTILE = 80, 40
QUICK = 3
"""Of so many kinds one is in the normal suite, the others in ``tox -e faults``."""


@dataclass(frozen=True)
class Ended:
    status: int
    said: str


def typed(folder: Path) -> Ended:
    """Give the command once more, to workers that need no torch."""
    screen = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(screen),
        contextlib.redirect_stderr(screen),
        warnings.catch_warnings(),
    ):
        kept = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP)]
        warnings.simplefilter("always")
        patch.setattr(warnings, "showwarning", None)
        patch.setattr(sys, "argv", ["attnbench", "run", "--isolation", "spawn", "--out", str(folder)])
        patch.setattr(session, "plan", lambda *_, **__: Sweep(cells=CELLS, baselines={}))
        patch.setattr(session.machine_limits, "measure", lambda *_, **__: {})
        patch.setattr(session.runner, "run", functools.partial(runner.run, worker_module="fake_worker"))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"), prepend=os.pathsep)
        try:
            command_line.main()
            status = 0
        except SystemExit as leave:
            status = int(leave.code or 0)
        finally:
            for number, handler in kept:
                signal.signal(number, handler)
        gc.collect()  # what a run that fails leaves open is closed by the end of its process, which is not here
    return Ended(status, screen.getvalue())


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
    assert "Traceback" not in first.said
    assert first.status in {0, 130} or any(
        line.startswith(("attnbench: ", "Error: ")) for line in first.said.splitlines()
    )
    there = {record.cell.key: record for record in store.read(scene.folder)} if scene.records.exists() else {}
    if moved := scene.folder.with_name("elsewhere").is_dir():
        there |= {record.cell.key: record for record in store.read(scene.folder.with_name("elsewhere"))}
    assert all(there[record.cell.key] == record for record in acknowledged), first.said
    again = typed(scene.folder)
    assert again.status == 0, again.said
    rows = {record.cell.key: record for record in store.read(scene.folder)}
    assert {key: record.status for key, record in rows.items()} == {cell.key: "ok" for cell in CELLS}
    assert moved or all(rows[record.cell.key] == record for record in acknowledged)  # not measured again
    assert (scene.folder / "report.md").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_kinds_are_as_many_as_promised() -> None:
    assert len(KINDS) >= LEAST_HOSTILE
    assert len(KINDS) + len(FAULTS) >= LEAST_KINDS


WALL_CLOCK = {
    "attnbench/devices/environment.py",  # when it was taken
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
