"""The processes of a group: their deadlines, their logs, what they leave behind."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import FAKE_WORKER, cells, run, statuses
from processes import runs

from attnbench.devices import cgroups
from attnbench.plan.sweep import Sweep
from attnbench.runs import runner
from attnbench.runs.job import SPAWN, Settings


@pytest.mark.parametrize(("culprit", "phase"), [("hang", "building"), ("timed-hang", "timing")])
def test_a_hanging_cell_is_ended_and_the_others_measured(tmp_path: Path, culprit: str, phase: str) -> None:
    found = run(tmp_path, cells("a", culprit, "b"), timeout_s=3.0)
    assert statuses(found) == {"a": "ok", culprit: "timeout", "b": "ok"}
    assert found[culprit].reason == f"{phase} took longer than 3 s; raise --timeout to wait longer"


def test_a_group_may_time_for_longer_than_one_call_may_hang(tmp_path: Path) -> None:
    asked = [*cells("timed-slow"), replace(cells("timed-slow")[0], options={"again": True})]
    sweep = Sweep(cells=tuple(asked), baselines={})
    settings = Settings(timeout_s=2.0, isolation=SPAWN)
    found = list(runner.run(sweep, settings=settings, folder=tmp_path, worker_module=FAKE_WORKER))
    assert [record.status for record in found] == ["ok", "ok"]


def test_a_process_left_behind_does_not_keep_the_run_waiting(tmp_path: Path) -> None:
    """It sleeps for longer than a test may take."""
    assert statuses(run(tmp_path, cells("orphan"))) == {"orphan": "ok"}


def test_the_folder_that_it_runs_in_takes_the_place_of_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert statuses(run(tmp_path, cells("a"))) == {"a": "ok"}


def test_logs_that_cannot_be_written_cost_no_row(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.warns(UserWarning, match="what processes print is not kept: cannot write .*Not a directory"):
        assert statuses(run(tmp_path, cells("a", "exit"))) == {"a": "ok", "exit": "crashed"}


def test_a_folder_that_is_deleted_meanwhile_costs_no_row(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    asked = [*cells("a"), *cells("b", height=512)]
    records = runner.run(
        Sweep(cells=tuple(asked), baselines={}),
        settings=Settings(isolation=SPAWN),
        folder=folder,
        worker_module=FAKE_WORKER,
    )
    first = next(records)
    shutil.rmtree(folder)
    assert [first.status, *(record.status for record in records)] == ["ok", "ok"]


def test_leaving_the_loop_ends_the_worker(tmp_path: Path) -> None:
    asked = cells("tells-its-pid", "hang")
    records = runner.run(
        Sweep(cells=tuple(asked), baselines={}),
        settings=Settings(isolation=SPAWN),
        folder=tmp_path,
        worker_module=FAKE_WORKER,
    )
    pid = int(next(records).reason)
    assert runs(pid)
    records.close()
    assert not runs(pid)


def memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every end by SIGKILL be the kernel's, for lack of memory."""
    kills = itertools.count()
    monkeypatch.setattr(cgroups, "out_of_memory_kills", lambda: next(kills))


@pytest.mark.parametrize("ends", ["holds", "kills"])
def test_what_finds_no_memory_beside_others_is_measured_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    memory_runs_out(monkeypatch)
    found = run(tmp_path, cells("holds-1", "holds-2", f"{ends}-3", "holds-0"), baseline="holds-1")
    assert set(statuses(found).values()) == {"ok"}
    assert found[f"{ends}-3"].metrics["measured_apart"].startswith("out-of-memory beside holds-1 [")
    beside = {name: record.metrics["latency_samples"] for name, record in found.items()}
    assert beside[f"{ends}-3"] == (2 if ends == "holds" else 3), "with the baseline, and what was still to come"
    assert "measured_apart" not in found["holds-2"].metrics


@pytest.mark.parametrize("ends", ["holds", "kills"])
def test_what_finds_no_memory_by_itself_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    memory_runs_out(monkeypatch)
    found = run(tmp_path, cells("holds-1", "holds-2", f"{ends}-5", f"{ends}-4"), baseline="holds-1")
    assert statuses(found) == {
        "holds-1": "ok",
        "holds-2": "ok",
        f"{ends}-5": "out-of-memory",
        f"{ends}-4": "ok",
    }
    assert found[f"{ends}-4"].metrics["latency_samples"] == 1, "there is no memory for the baseline beside it"
    assert (
        found[f"{ends}-4"].metrics["measured_apart"] == f"out-of-memory beside holds-1 []: {found[f'{ends}-5'].reason}"
    )


def test_a_baseline_that_finds_no_memory_the_second_time_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_runs_out(monkeypatch)
    found = run(tmp_path, cells("killed-again", "holds-2", "holds-3"), baseline="killed-again")
    assert set(statuses(found).values()) == {"ok"}


def test_many_that_find_no_memory_together_are_measured_in_as_many_processes_as_it_takes(tmp_path: Path) -> None:
    found = run(
        tmp_path, cells("holds-1", *(f"holds-{zeros}3" for zeros in ("", "0", "00", "000"))), baseline="holds-1"
    )
    assert set(statuses(found).values()) == {"ok"}
