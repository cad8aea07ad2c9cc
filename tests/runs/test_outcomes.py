"""Whose row a death, a hang or a lie of a worker becomes."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import FAKE_WORKER, cells, run, statuses

from attnbench.plan.sweep import Sweep
from attnbench.record import Status
from attnbench.runs import runner
from attnbench.runs.job import SPAWN, Settings


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
    found = list(runner.run(sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, worker_module=FAKE_WORKER))
    assert [(record.cell.mechanism, record.status) for record in found] == [
        ("unsupported", "unsupported"),
        ("says-another-cell-again", "crashed"),
        ("b", "ok"),
    ]


@pytest.mark.parametrize("when", ["", "timed-"], ids=["by itself", "in turn"])
def test_forks_that_are_let_go_on_add_no_rows(tmp_path: Path, when: str) -> None:
    asked = cells("a", f"{when}forks", "b")
    sweep = Sweep(cells=tuple(asked), baselines={})
    found = list(runner.run(sweep, settings=Settings(isolation=SPAWN), folder=tmp_path, worker_module=FAKE_WORKER))
    assert sorted(record.cell.mechanism for record in found) == sorted(cell.mechanism for cell in asked)
    assert {record.status for record in found} == {"ok"}


def test_a_worker_that_ends_after_a_cell_leaves_the_others_to_another(tmp_path: Path) -> None:
    found = run(tmp_path, cells("a", "loses-the-device", "b"))
    assert statuses(found) == {"a": "ok", "loses-the-device": "failed", "b": "ok"}
    assert found["loses-the-device"].reason.startswith("illegal access")


def test_a_cell_that_dies_keeps_what_was_measured_before(tmp_path: Path) -> None:
    assert run(tmp_path, cells("segfault"))["segfault"].metrics == {"macs": 1}


def test_what_costs_no_cell_anything_is_a_short_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"no room for samples!+\.\.\. \(5,019 characters\)"):
        assert statuses(run(tmp_path, cells("warns"))) == {"warns": "ok"}
