"""What the disk does to a run ends it in a line that says what is kept and how to go on."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench import store
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status
from attnbench.report.console import console
from attnbench.runs import session
from attnbench.runs.job import Settings

CELLS = tuple(replace(Cell(mechanism="mhsa", height=32, width=32), batch=batch) for batch in range(1, 6))
SWEEP = Sweep(cells=CELLS, baselines={}, endings={cell.key: (Status.UNSUPPORTED, "for a test") for cell in CELLS})


def measure(folder: Path, settings: Settings = Settings()) -> session.SessionOutcome:  # noqa: B008 - frozen
    return session.measure(
        SWEEP,
        settings=settings,
        folder=folder,
        fresh=False,
        retry=False,
        console=console(file=io.StringIO()),
        command="attnbench run",
    )


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.machine_limits, "measure", lambda *_, **__: {})
    monkeypatch.setattr(session.machine_limits, "measure_after", lambda *_, **__: {})


@pytest.mark.parametrize("rows", range(5))
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_ends_a_run_in_a_line_and_a_rerun_completes_it(
    rows: int, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [rows]

    def sync(_: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(error, os.strerror(error))

    with store.Store(tmp_path):
        pass
    append = store.Store.append

    def failing(kept: store.Store, record: object) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("attnbench.store.records.os.fsync", sync)
            append(kept, record)

    monkeypatch.setattr(store.Store, "append", failing)
    outcome = measure(tmp_path)
    assert outcome.stopped == (
        f"cannot write {tmp_path / store.RECORDS}: {os.strerror(error)}; {rows} of 5 cells are kept; "
        "run the same command to resume once that is mended"
    )
    assert len(outcome.records) == len(store.read(tmp_path)) == rows
    monkeypatch.setattr(store.Store, "append", append)
    assert len(measure(tmp_path).records) == 5
    assert len(store.read(tmp_path)) == 5


def test_what_the_system_refuses_elsewhere_is_a_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere")

    monkeypatch.setattr(session.runner, "run", refused)
    assert measure(tmp_path).stopped.startswith("/somewhere: Permission denied; 0 of 5 cells are kept")


@pytest.mark.parametrize("remove", [lambda run: (run / store.RECORDS).unlink(), shutil.rmtree], ids=["rows", "folder"])
def test_what_is_removed_on_the_way_is_there_at_the_end(
    remove: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, append = tmp_path / "run", store.Store.append

    def removing(kept: store.Store, record: object) -> None:
        if len(kept.records) == 3:
            remove(run)
        append(kept, record)

    monkeypatch.setattr(store.Store, "append", removing)
    with pytest.warns(store.LostRecordsWarning):
        outcome = measure(run)
    assert len(outcome.records) == len(store.read(run)) == 5


@pytest.mark.parametrize(("limit_s", "stands"), [(0.02, True), (0.01, True), (0.05, False), (None, False)])
def test_what_was_not_timed_for_a_limit_is_looked_at_again_under_a_higher_one(
    limit_s: float | None, stands: bool, tmp_path: Path
) -> None:
    with store.Store(tmp_path) as kept:
        for cell in CELLS:
            given = {"max_latency_s": 0.02}
            kept.append(Record(cell=cell, status=Status.OVER_BUDGET, reason="too slow", settings=given))
    outcome = measure(tmp_path, settings=Settings(max_latency_s=limit_s))
    expected = Status.OVER_BUDGET if stands else Status.UNSUPPORTED
    assert {record.status for record in outcome.records} == {expected}
