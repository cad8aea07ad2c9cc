"""The process that verifies what another has timed: what it says of each cell, and how little it can be known by."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from witnessed import ADVERSARIES, cell_of, make_calls, ready

from attnbench.models import subject
from attnbench.models.untouched import alone
from attnbench.record import Cell, Status
from attnbench.runs.job import Assignment, Event, Job, Settings
from attnbench.worker import referee, torch_state
from attnbench.worker.objection import Objection
from attnbench.worker.verification import Verification

HONEST, CHEATS = cell_of("mhsa"), cell_of(ADVERSARIES / "when_timed.py:InferenceMode")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(ADVERSARIES)  # they are made of the honest one
    with torch_state.restored():
        yield


def judged(folder: Path, *assignments: Assignment, precise: bool = False) -> list[Event]:
    """Return what a referee says of cells of which calls were made beside a witness."""
    job = Job(
        assignments=assignments, baseline="", settings=Settings(), samples=str(folder), evidence=str(folder),
        precise=precise,
    )  # fmt: skip
    events: list[Event] = []
    referee.judge(job, events.append)
    return events


def timed(cell: Cell, folder: Path, *objections: Objection) -> Assignment:
    make_calls(ready(cell), folder / cell.key, calls=3)
    return Assignment(cell=cell, timed={"latency_median_s": 0.1, "running_s": 1.0}, objections=objections)


def test_each_cell_is_entered_and_gets_a_verdict_that_is_its_own(tmp_path: Path) -> None:
    events = judged(tmp_path, timed(CHEATS, tmp_path), timed(HONEST, tmp_path))
    assert [(event["event"], event["cell"]) for event in events] == [
        ("phase", 0),
        ("done", 0),
        ("phase", 1),
        ("done", 1),
    ]
    cheats, honest = events[1::2]
    assert cheats["status"] is Status.REJECTED
    assert "another answer than the layer's" in cheats["reason"]
    assert f"attnbench run --mechanisms {ADVERSARIES}" in cheats["reason"]
    assert "latency_median_s" not in cheats["metrics"]
    assert (honest["status"], honest["reason"]) == (Status.OK, "")
    assert honest["metrics"].pop("running_s") > 1.0  # the calls of its copies are calls too
    assert honest["metrics"] == {"verified": "3 of 3, float64 beside", "latency_median_s": 0.1}
    assert cheats["own"]
    assert honest["own"]


def test_beside_no_plugin_the_precision_of_the_quickest_cell_alone_is_looked_at_whatever_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnbench.worker.verification._EXACT", 1e9)
    slow, quick = timed(HONEST, tmp_path), timed(cell_of("swin"), tmp_path)
    quick = replace(quick, timed=dict(quick.timed) | {"latency_median_s": 0.05})
    events = judged(tmp_path, slow, quick)
    assert [each["metrics"]["verified"] for each in events[1::2]] == ["3 of 3", "3 of 3, float64 beside"]
    again = judged(tmp_path, slow, quick, precise=True)  # an earlier group has shown it
    assert [each["metrics"]["verified"] for each in again[1::2]] == ["3 of 3", "3 of 3"]


def test_beside_a_plugin_the_precision_of_all_is_looked_at_whatever_an_earlier_group_has_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnbench.worker.verification._EXACT", 1e9)
    theirs = replace(HONEST, distribution="theirs 1.0")
    _, event = judged(tmp_path, timed(theirs, tmp_path), precise=True)
    assert event["metrics"]["verified"] == "3 of 3, float64 beside"


@pytest.mark.parametrize(("sure", "status"), [(True, Status.REJECTED), (False, Status.OK)])
def test_what_the_worker_objected_to_stands_beside_answers_that_are_right(
    sure: bool, status: Status, tmp_path: Path
) -> None:
    _, event = judged(tmp_path, timed(HONEST, tmp_path, Objection(said="too fast", sure=sure)))
    assert event["status"] is status
    assert (event["reason"] or event["metrics"]["suspicious"]) == "too fast"
    assert event["metrics"]["verified"] == "3 of 3, float64 beside"


@pytest.mark.parametrize("content", [None, b"", b"no tensors"])
def test_evidence_that_cannot_be_read_is_a_suspicion_and_costs_no_other_cell_its_verdict(
    content: bytes | None, tmp_path: Path
) -> None:
    without = timed(CHEATS, tmp_path)
    path = tmp_path / CHEATS.key
    path.unlink() if content is None else path.write_bytes(content)
    _, first, _, second = judged(tmp_path, without, timed(HONEST, tmp_path))
    assert first["status"] is Status.OK
    assert first["metrics"]["suspicious"].startswith("its timed calls could not be verified: ")
    assert first["metrics"]["verified"].startswith("none: ")
    assert second["metrics"]["verified"] == "3 of 3, float64 beside"


def test_a_layer_that_can_no_longer_be_built_is_not_taken_for_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = timed(HONEST, tmp_path)

    def gone(_: Cell) -> None:
        raise SyntaxError("somebody\nedits it")

    monkeypatch.setattr("attnbench.models.subject.of", gone)
    _, event = judged(tmp_path, found)
    assert event["metrics"]["suspicious"] == (
        "its timed calls could not be verified: SyntaxError: somebody edits it"
    )  # fmt: skip


def test_what_a_layer_sets_as_it_is_verified_is_set_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def sets_threads(*_: object, **__: object) -> Verification:
        threads.append(torch.get_num_threads())
        torch.set_num_threads(torch.get_num_threads() + 1)
        return Verification(said="")

    monkeypatch.setattr(referee, "verify", sets_threads)
    judged(tmp_path, timed(CHEATS, tmp_path), timed(HONEST, tmp_path))
    assert threads == [threads[0]] * 2


def test_copies_of_built_ins_run_on_all_cores_and_those_of_plugins_on_as_many_as_were_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def notes_threads(*_: object, **__: object) -> Verification:
        threads.append(torch.get_num_threads())
        return Verification(said="")

    monkeypatch.setattr(referee, "whole_cores", lambda: 3)
    monkeypatch.setattr(referee, "verify", notes_threads)
    judged(tmp_path, timed(HONEST, tmp_path))
    judged(tmp_path, timed(replace(HONEST, distribution="somebodys"), tmp_path))
    assert threads == [3, HONEST.threads]


def seen_by_a_layer() -> str:
    """Return as JSON what a layer sees of its process in a fork that looks like any other program."""
    read, write = os.pipe()
    with warnings.catch_warnings():  # of threads, none of which the fork needs
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        try:
            referee._be_inconspicuous()
            line = Path("/proc/self/cmdline")
            names = {"variables": [*os.environ], "main": [*vars(sys.modules["__main__"])], "arguments": sys.argv}
            seen = json.dumps({**names, "line": line.read_bytes().decode() if line.exists() else ""})
            os.write(write, seen.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_nothing_says_to_a_layer_that_it_is_being_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"ATTNBENCH_FUZZ", "PYTEST_XDIST_WORKER", "COV_CORE_SOURCE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    for name in told:
        monkeypatch.setenv(name, "1")
    found = json.loads(seen_by_a_layer())
    assert not told & set(found["variables"])
    assert "PATH" in found["variables"]
    assert found["arguments"] == [""]
    assert "__file__" not in found["main"]
    if sys.platform == "linux":
        assert found["line"].strip("\0") == "python3"


def test_a_copy_computes_in_as_many_threads_as_the_referee_has() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert alone(subject.of(HONEST), torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(before)
