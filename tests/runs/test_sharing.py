"""Cells that are only counted, or learn a task: they share workers, several at once, and come in their order."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import FAKE_WORKER, cells, run, statuses
from processes import runs

from attnbench.plan.sweep import Sweep
from attnbench.record import Task
from attnbench.runs import beside, runner, sharing
from attnbench.runs.job import SPAWN, Settings


def test_cells_that_are_only_counted_share_a_worker_whatever_their_size(tmp_path: Path) -> None:
    asked = [replace(cell, task=Task.COUNTS) for cell in (*cells("a", "killed"), *cells("b", height=512))]
    found = run(tmp_path, asked)
    assert statuses(found) == {"a": "ok", "killed": "crashed", "b": "ok"}
    assert found["a"].metrics["latency_samples"] == found["b"].metrics["latency_samples"] == 2  # in one job


def test_cells_that_are_only_counted_are_counted_at_once_and_come_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "usable_cores", lambda: frozenset({0, 1}))
    names = [f"m{index}" for index in range(19)]
    found = run(tmp_path, [replace(cell, task=Task.COUNTS) for cell in cells("killed", *names)])
    assert list(found) == ["killed", *names]
    assert statuses(found) == {"killed": "crashed", **dict.fromkeys(names, "ok")}
    assert found["m0"].metrics["latency_samples"] == 10  # one of two jobs


def test_cells_that_learn_a_task_are_dealt_to_cores_by_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "usable_cores", lambda: frozenset(range(4)))
    asked = [replace(cell, task=Task.ACCURACY, dataset="shift:offset=1") for cell in cells("a", "b", "c")]
    (together,) = sharing.sharing(asked)
    assert [[cell.mechanism for cell in part] for part in sharing.dealt(together)] == [["a"], ["b"], ["c"]]
    twice = [replace(cell, threads=2) for cell in asked]
    assert [[cell.mechanism for cell in part] for part in sharing.dealt(twice)] == [["a", "c"], ["b"]]


@pytest.mark.parametrize("how", [{"dataset": "digits"}, {"dataset": "shift", "device": "cuda:0"}])
def test_what_a_device_or_its_files_are_shared_for_is_not_trained_at_once(how: dict[str, str]) -> None:
    (cell,) = (replace(cell, task=Task.ACCURACY, **how) for cell in cells("a"))
    assert not beside.is_independent(cell)


def test_leaving_the_loop_ends_all_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "usable_cores", lambda: frozenset({0, 1}))
    asked = [replace(cell, task=Task.COUNTS) for cell in cells("tells-its-pid", "hang", *map(str, range(14)))]
    sweep, settings = Sweep(cells=tuple(asked), baselines={}), Settings(isolation=SPAWN)
    records = runner.run(sweep, settings=settings, folder=tmp_path, worker_module=FAKE_WORKER)
    pid = int(next(records).reason)
    records.close()
    assert not runs(pid)
