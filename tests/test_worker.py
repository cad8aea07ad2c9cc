"""What the worker does when a device fails it, with a device of no substance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from attnbench import phases, torch_state, worker
from attnbench.job import Assignment, Event, Job, Running, Settings
from attnbench.phases import Ready
from attnbench.record import Cell, Status

CELLS = [Cell(mechanism=name, height=64, width=64, device="cuda:1") for name in ("a", "b", "c")]
LOST = RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let CUDA be there, and return what is asked of it in order."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(f"set {device}"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty cache"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (calls.append(f"ask {device}"), 7)[1:])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    taken = SimpleNamespace(environment_id="fake", to_dict=dict)
    monkeypatch.setattr(worker.environment, "take", lambda **_: taken)
    with torch_state.restored():
        yield calls


def gone(_: object) -> None:
    raise LOST


def job(tmp_path: Path) -> Job:
    assignments = tuple(Assignment(cell=cell) for cell in CELLS)
    return Job(assignments=assignments, baseline="", settings=Settings(), samples=str(tmp_path))


def outcomes(events: list[Event]) -> list[tuple[int, Status]]:
    return [(event["cell"], event["status"]) for event in events if event["event"] == "done"]


@pytest.mark.parametrize(("lost", "reached"), [(True, [0]), (False, [0, 1, 2])])
def test_a_process_that_lost_its_device_measures_no_other_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool, reached: list[int]
) -> None:
    def by_itself(*_: object, **__: object) -> None:
        if lost:
            monkeypatch.setattr(torch.cuda, "synchronize", gone)
        raise LOST

    monkeypatch.setattr(worker, "_by_itself", by_itself)
    events: list[Event] = []
    worker.work(job(tmp_path), events.append, Running(tmp_path / "running"))
    assert outcomes(events) == [(index, Status.FAILED) for index in reached]


@pytest.mark.parametrize(("lost", "reached"), [(True, [1]), (False, [1, 0, 2])])
def test_a_device_lost_while_cells_take_turns_costs_the_one_that_lost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool, reached: list[int]
) -> None:
    running = Running(tmp_path / "running")

    def time(ready: list[Ready], *_: object, **__: object) -> dict[str, phases.Metrics]:
        if len(ready) == len(CELLS):
            running.start(1)
            if lost:
                monkeypatch.setattr(torch.cuda, "synchronize", gone)
            raise LOST
        return {one.cell.key: {} for one in ready}

    monkeypatch.setattr(worker, "_timer", lambda _: object())
    monkeypatch.setattr(worker, "_time", time)
    events: list[Event] = []
    worker.time_in_turn(ready(), job(tmp_path), events.append, running, "fake")
    assert [index for index, _ in outcomes(events)] == reached
    assert running.current() == (None, 0.0)


def test_a_device_without_room_for_what_timing_needs_is_out_of_memory_for_each_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(worker, "_timer", full)
    events: list[Event] = []
    worker.time_in_turn(ready(), job(tmp_path), events.append, Running(tmp_path / "running"), "fake")
    assert outcomes(events) == [(index, Status.OUT_OF_MEMORY) for index in range(3)]


def ready() -> list[Ready]:
    return [
        Ready(index=index, cell=cell, call=lambda: None, layers=1, parameters_bytes=0, found={})
        for index, cell in enumerate(CELLS)
    ]


def test_cells_run_on_their_own_device_and_convolutions_are_as_precise_as_products(asked: list[str]) -> None:
    for allowed in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        phases.settle(CELLS[0])
        assert torch.backends.cudnn.allow_tf32 is allowed
    assert asked == ["set cuda:1", "set cuda:1"]


def test_what_torch_keeps_of_earlier_cells_counts_as_free(asked: list[str]) -> None:
    assert phases._free_bytes("cuda:1") == 7
    assert asked == ["empty cache", "ask cuda:1"]
