"""The runner against a worker without torch whose cells hang, die and misbehave on request."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from processes import runs

from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status, Task
from attnbench.runs import runner
from attnbench.runs.job import SPAWN, Settings
from attnbench.store import unfinished
from attnbench.store.unfinished import Begun


@pytest.fixture(autouse=True)
def _fake_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"), prepend=os.pathsep)


def cells(*names: str, height: int = 224) -> list[Cell]:
    return [Cell(mechanism=name, height=height, width=height) for name in names]


def run(
    folder: Path, asked: Sequence[Cell], *, recorded: Sequence[Record] = (), timeout_s: float = 20, baseline: str = ""
) -> dict[str, Record]:
    sweep = Sweep(cells=tuple(asked), baselines={cell.group: cell.key for cell in asked if cell.mechanism == baseline})
    settings = Settings(timeout_s=timeout_s, isolation=SPAWN)
    found = runner.run(sweep, settings=settings, folder=folder, recorded=recorded, worker_module="fake_worker")
    return {record.cell.mechanism: record for record in found}


def statuses(records: dict[str, Record]) -> dict[str, Status]:
    return {name: record.status for name, record in records.items()}


def test_every_cell_of_every_group_gets_a_row(tmp_path: Path) -> None:
    asked = [*cells("a", "b"), *cells("c", "unsupported", height=512)]
    found = run(tmp_path, asked)
    assert statuses(found) == {"a": "ok", "b": "ok", "c": "ok", "unsupported": "unsupported"}
    assert found["unsupported"].reason == "too odd"
    assert found["a"].environment == {"environment_id": "fake"}


@pytest.mark.parametrize(
    ("culprit", "status", "reason"),
    [
        ("killed", Status.CRASHED, "killed by SIGKILL while building (building killed); no fault of a process's own"),
        ("segfault", Status.CRASHED, "killed by SIGSEGV while building"),
        ("nameless-signal", Status.CRASHED, "killed by signal 40 while building"),
        ("exit", Status.CRASHED, "ended with status 1 while building (I had enough)"),
        ("timed-segfault", Status.CRASHED, "killed by SIGSEGV while timing"),
        ("timed-exit", Status.CRASHED, "ended with status 1 while timing"),
    ],
)
def test_a_death_is_the_affair_of_the_cell_that_caused_it(
    tmp_path: Path, culprit: str, status: Status, reason: str
) -> None:
    found = run(tmp_path, cells("a", culprit, "b"))
    assert statuses(found) == {"a": "ok", culprit: status, "b": "ok"}
    assert reason in found[culprit].reason


@pytest.mark.parametrize("signs", ["killed", "exit", "segfault"])
def test_a_worker_that_dies_before_it_touches_a_cell_is_tried_once_more_before_anybody_has_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signs: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(tmp_path, cells("a", f"starting-once-{signs}", "b"))
    assert set(statuses(found).values()) == {"ok"}


@pytest.mark.parametrize(("dies", "status"), [("exit", "crashed"), ("killed", "crashed"), ("hang", "timeout")])
def test_what_ends_at_every_start_is_nobodys_fault(tmp_path: Path, dies: str, status: str) -> None:
    asked = [replace(cell, distribution="mine 1.0") for cell in cells("a", f"starting-{dies}")]
    found = run(tmp_path, asked, timeout_s=1.0 if dies == "hang" else 20.0)
    assert set(statuses(found).values()) == {status}
    for record in found.values():
        assert "starting" in record.reason
        assert record.reason.endswith("it was tried twice") or "; see " in record.reason
        assert "mine 1.0" not in record.reason


@pytest.mark.parametrize("when", ["", "timed-"], ids=["by itself", "in turn"])
def test_a_cell_whose_worker_is_killed_from_outside_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(statuses(run(tmp_path, cells("a", f"{when}once-killed", "b"))).values()) == {"ok"}


def test_who_kills_a_worker_twice_is_not_said_to_be_a_plugin(tmp_path: Path) -> None:
    asked = [replace(cell, distribution="mine 1.0") for cell in cells("a", "killed", "segfault")]
    found = run(tmp_path, asked)
    assert statuses(found) == {"a": "ok", "killed": "crashed", "segfault": "crashed"}
    assert found["killed"].reason.endswith("brings that signal; it was tried twice")
    assert found["segfault"].reason.endswith("[mine 1.0]")


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ("writes", "it wrote '5' into the channel of its process while building"),
        ("timed-writes", "it wrote '5' into the channel of its process while timing"),
        ("says-cell-99", "it wrote 'cell 99 of 3' into the channel"),
        ("says-cell-minus-1", "it wrote 'cell -1 of 3' into the channel"),
        ("says-no-status", "into the channel of its process while building"),
        ("cuts-the-page", "killed by SIGABRT while building"),
    ],
)
def test_what_a_worker_cannot_have_said_costs_the_cell_at_work_alone(tmp_path: Path, hostile: str, reason: str) -> None:
    found = run(tmp_path, cells("a", hostile, "b"))
    assert statuses(found) == {"a": "ok", hostile: "crashed", "b": "ok"}
    assert reason in found[hostile].reason


def test_a_cell_that_has_its_row_gets_no_other(tmp_path: Path) -> None:
    asked = cells("unsupported", "says-another-cell-again", "b")
    sweep = Sweep(cells=tuple(asked), baselines={})
    found = list(runner.run(sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, worker_module="fake_worker"))
    assert [(record.cell.mechanism, record.status) for record in found] == [
        ("unsupported", "unsupported"),
        ("says-another-cell-again", "crashed"),
        ("b", "ok"),
    ]


@pytest.mark.parametrize("when", ["", "timed-"], ids=["by itself", "in turn"])
def test_forks_that_are_let_go_on_add_no_rows(tmp_path: Path, when: str) -> None:
    asked = cells("a", f"{when}forks", "b")
    sweep = Sweep(cells=tuple(asked), baselines={})
    found = list(runner.run(sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, worker_module="fake_worker"))
    assert sorted(record.cell.mechanism for record in found) == sorted(cell.mechanism for cell in asked)
    assert {record.status for record in found} == {"ok"}


def test_what_a_mechanism_prints_is_short_in_its_row(tmp_path: Path) -> None:
    reason = run(tmp_path, cells("prints"))["prints"].reason
    assert "x... (4,096 characters)" in reason
    assert len(reason) < 700


def test_what_costs_no_cell_anything_is_a_short_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"no room for samples!+\.\.\. \(5,019 characters\)"):
        assert statuses(run(tmp_path, cells("warns"))) == {"warns": "ok"}


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
        worker_module="fake_worker",
    )
    first = next(records)
    shutil.rmtree(folder)
    assert [first.status, *(record.status for record in records)] == ["ok", "ok"]


def test_cells_whose_ending_is_known_get_their_row_without_a_worker(tmp_path: Path) -> None:
    asked = [*cells("a"), replace(cells("hang")[0], distribution="mine 1.0")]
    endings = {asked[1].key: (Status.TIMEOUT, "loading took longer than 1 s")}
    sweep = Sweep(cells=tuple(asked), baselines={}, endings=endings)
    hang, a = runner.run(sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, worker_module="fake_worker")
    assert (hang.status, hang.reason) == ("timeout", "loading took longer than 1 s [mine 1.0]")
    assert (a.cell.mechanism, a.status) == ("a", "ok")


def test_a_worker_that_ends_after_a_cell_leaves_the_others_to_another(tmp_path: Path) -> None:
    found = run(tmp_path, cells("a", "loses-the-device", "b"))
    assert statuses(found) == {"a": "ok", "loses-the-device": "failed", "b": "ok"}
    assert found["loses-the-device"].reason.startswith("illegal access")


def test_a_cell_that_dies_keeps_what_was_measured_before(tmp_path: Path) -> None:
    assert run(tmp_path, cells("segfault"))["segfault"].metrics == {"macs": 1}


@pytest.mark.parametrize(("culprit", "phase"), [("hang", "building"), ("timed-hang", "timing")])
def test_a_hanging_cell_is_ended_and_the_others_measured(tmp_path: Path, culprit: str, phase: str) -> None:
    found = run(tmp_path, cells("a", culprit, "b"), timeout_s=3.0)
    assert statuses(found) == {"a": "ok", culprit: "timeout", "b": "ok"}
    assert found[culprit].reason == f"{phase} took longer than 3 s; raise --timeout to wait longer"


def test_a_group_may_time_for_longer_than_one_call_may_hang(tmp_path: Path) -> None:
    asked = [*cells("timed-slow"), replace(cells("timed-slow")[0], options={"again": True})]
    sweep = Sweep(cells=tuple(asked), baselines={})
    settings = Settings(timeout_s=2.0, isolation=SPAWN)
    found = list(runner.run(sweep, settings=settings, folder=tmp_path, worker_module="fake_worker"))
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


def test_a_row_says_how_it_was_measured_and_which_file_has_its_timed_calls(tmp_path: Path) -> None:
    (cell,) = cells("a")
    samples = runner.samples_of(tmp_path, cell)
    samples.parent.mkdir()
    samples.write_bytes(b"timed")
    found = run(tmp_path, [cell], timeout_s=17)["a"]
    assert found.settings["timeout_s"] == 17
    assert found.samples_sha256 == hashlib.sha256(b"timed").hexdigest()


def test_cells_with_a_row_are_not_measured_again(tmp_path: Path) -> None:
    asked = cells("a", "b")
    recorded = [Record(cell=asked[0], status=Status.TIMEOUT)]
    assert list(run(tmp_path, asked, recorded=recorded)) == ["b"]


def test_the_baseline_is_timed_again_beside_cells_that_come_later(tmp_path: Path) -> None:
    asked = cells("a", "b")
    recorded = [Record(cell=asked[0], status=Status.OK)]
    found = run(tmp_path, asked, recorded=recorded, baseline="a")
    assert list(found) == ["b"]
    assert found["b"].metrics["latency_samples"] == 2


def test_leaving_the_loop_ends_the_worker(tmp_path: Path) -> None:
    asked = cells("tells-its-pid", "hang")
    records = runner.run(
        Sweep(cells=tuple(asked), baselines={}),
        settings=Settings(isolation=SPAWN),
        folder=tmp_path,
        worker_module="fake_worker",
    )
    pid = int(next(records).reason)
    assert runs(pid)
    records.close()
    assert not runs(pid)


def test_who_watches_is_told_the_cell_and_the_phase(tmp_path: Path) -> None:
    seen: list[runner.Progress] = []
    asked = cells("a", "b")
    sweep = Sweep(cells=tuple(asked), baselines={})
    list(
        runner.run(
            sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, watcher=seen.append, worker_module="fake_worker"
        )
    )
    assert [(p.phase, [c.mechanism for c in p.cells]) for p in seen] == [
        ("building", ["a"]),
        ("building", ["b"]),
        ("timing", ["a", "b"]),
    ]


def test_cells_that_are_only_counted_share_a_worker_whatever_their_size(tmp_path: Path) -> None:
    asked = [replace(cell, task=Task.COUNTS) for cell in (*cells("a", "killed"), *cells("b", height=512))]
    found = run(tmp_path, asked)
    assert statuses(found) == {"a": "ok", "killed": "crashed", "b": "ok"}
    assert found["a"].metrics["latency_samples"] == found["b"].metrics["latency_samples"] == 2  # in one job


def test_cells_that_are_only_counted_are_counted_at_once_and_come_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "usable_cores", lambda: frozenset({0, 1}))
    names = [f"m{index}" for index in range(19)]
    found = run(tmp_path, [replace(cell, task=Task.COUNTS) for cell in cells("killed", *names)])
    assert list(found) == ["killed", *names]
    assert statuses(found) == {"killed": "crashed", **dict.fromkeys(names, "ok")}
    assert found["m0"].metrics["latency_samples"] == 10  # one of two jobs


def test_leaving_the_loop_ends_all_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "usable_cores", lambda: frozenset({0, 1}))
    asked = [replace(cell, task=Task.COUNTS) for cell in cells("tells-its-pid", "hang", *map(str, range(14)))]
    sweep, settings = Sweep(cells=tuple(asked), baselines={}), Settings(isolation=SPAWN)
    records = runner.run(sweep, settings=settings, folder=tmp_path, worker_module="fake_worker")
    pid = int(next(records).reason)
    records.close()
    assert not runs(pid)


def test_what_is_known_of_a_cell_is_on_disk_before_it_has_its_row_and_taken_up_by_the_next_run(tmp_path: Path) -> None:
    asked = cells("a", "hang")
    sweep = Sweep(cells=tuple(asked), baselines={})
    settings = Settings(isolation=SPAWN)

    def interrupted(progress: runner.Progress) -> None:
        if progress.cells[0].mechanism == "hang" and unfinished.read(tmp_path).keys() == {asked[0].key}:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(runner.run(sweep, settings=settings, folder=tmp_path, watcher=interrupted, worker_module="fake_worker"))
    known = unfinished.read(tmp_path)
    assert known == {asked[0].key: Begun(environment_id="fake", metrics={"macs": 1}, phases=("counting",))}
    facts = replace(known[asked[0].key], metrics={"params": 5})
    there = {"a": replace(facts, environment_id="fake"), "b": replace(facts, environment_id="another")}
    again = cells("a", "b")
    found = runner.run(
        Sweep(cells=tuple(again), baselines={}), settings=settings, folder=tmp_path, worker_module="fake_worker",
        known={cell.key: there[cell.mechanism] for cell in again},
    )  # fmt: skip
    assert {record.cell.mechanism: record.metrics.get("params") for record in found} == {"a": 5, "b": None}
