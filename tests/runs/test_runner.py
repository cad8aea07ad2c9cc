"""The runner against a worker without torch: a row for every cell, and what was found before is taken up."""

from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
from fake_runs import FAKE_WORKER, cells, run, statuses

from attnbench.plan.sweep import Sweep
from attnbench.record import Record, Status
from attnbench.runs import rows, runner
from attnbench.runs.job import SPAWN, Settings
from attnbench.runs.progress import Progress
from attnbench.store import unfinished
from attnbench.store.unfinished import Begun


def test_every_cell_of_every_group_gets_a_row(tmp_path: Path) -> None:
    asked = [*cells("a", "b"), *cells("c", "unsupported", height=512)]
    found = run(tmp_path, asked)
    assert statuses(found) == {"a": "ok", "b": "ok", "c": "ok", "unsupported": "unsupported"}
    assert found["unsupported"].reason == "too odd"
    assert found["a"].environment == {"environment_id": "fake"}


def test_two_runs_that_begin_in_one_second_are_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2026, 1, 1, tzinfo=tz)

    monkeypatch.setattr(rows, "datetime", Stopped)
    (cell,) = cells("a")
    sweep = Sweep(cells=(cell,), baselines={}, endings={cell.key: (Status.UNSUPPORTED, "too odd")})
    found = [next(runner.run(sweep, settings=Settings(), folder=tmp_path / name)).run_id for name in ("one", "two")]
    assert found[0] != found[1]
    assert {each.partition("-")[0] for each in found} == {"20260101T000000Z"}


def test_cells_whose_ending_is_known_get_their_row_without_a_worker(tmp_path: Path) -> None:
    asked = [*cells("a"), replace(cells("hang")[0], distribution="mine 1.0")]
    endings = {asked[1].key: (Status.TIMEOUT, "loading took longer than 1 s")}
    sweep = Sweep(cells=tuple(asked), baselines={}, endings=endings)
    hang, a = runner.run(sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, worker_module=FAKE_WORKER)
    assert (hang.status, hang.reason) == ("timeout", "loading took longer than 1 s [mine 1.0]")
    assert (a.cell.mechanism, a.status) == ("a", "ok")


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


def test_who_watches_is_told_the_cell_and_the_phase(tmp_path: Path) -> None:
    seen: list[Progress] = []
    asked = cells("a", "b")
    sweep = Sweep(cells=tuple(asked), baselines={})
    list(
        runner.run(
            sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, watcher=seen.append, worker_module=FAKE_WORKER
        )
    )
    assert [(p.phase, [c.mechanism for c in p.cells]) for p in seen] == [
        ("building", ["a"]),
        ("building", ["b"]),
        ("timing", ["a", "b"]),
    ]


def test_what_is_known_of_a_cell_is_on_disk_before_it_has_its_row_and_taken_up_by_the_next_run(tmp_path: Path) -> None:
    asked = cells("a", "hang")
    sweep = Sweep(cells=tuple(asked), baselines={})
    settings = Settings(isolation=SPAWN)

    def interrupted(progress: Progress) -> None:
        if progress.cells[0].mechanism == "hang" and unfinished.read(tmp_path).keys() == {asked[0].key}:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(runner.run(sweep, settings=settings, folder=tmp_path, watcher=interrupted, worker_module=FAKE_WORKER))
    known = unfinished.read(tmp_path)
    assert known == {asked[0].key: Begun(environment_id="fake", metrics={"macs": 1}, phases=("counting",))}
    facts = replace(known[asked[0].key], metrics={"params": 5})
    there = {"a": replace(facts, environment_id="fake"), "b": replace(facts, environment_id="another")}
    again = cells("a", "b")
    found = runner.run(
        Sweep(cells=tuple(again), baselines={}), settings=settings, folder=tmp_path, worker_module=FAKE_WORKER,
        known={cell.key: there[cell.mechanism] for cell in again},
    )  # fmt: skip
    assert {record.cell.mechanism: record.metrics.get("params") for record in found} == {"a": 5, "b": None}
