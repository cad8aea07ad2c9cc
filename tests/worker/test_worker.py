"""What the worker does when a device fails it, with a device of no substance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_device
import numpy as np
import pytest
import torch
from torch import nn

from attnbench import devices, roofline
from attnbench.devices.cpu import CpuDevice
from attnbench.devices.device import Device
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Scope, Status, Task
from attnbench.runs import runner
from attnbench.runs.job import Assignment, Event, Job, Running, Settings
from attnbench.worker import main as worker
from attnbench.worker import timing, torch_state
from attnbench.worker.leftovers import OthersTurns
from attnbench.worker.ready import Metrics, Ready
from attnbench.worker.surroundings import Settled

CELLS = [Cell(mechanism=name, height=64, width=64, device="fake:1") for name in ("a", "b", "c")]
LOST = RuntimeError("an illegal memory access was encountered")


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """Let the cells' device be there."""
    fake_device.know(monkeypatch)
    fake = devices.of("fake:1")
    taken = SimpleNamespace(environment_id="fake", to_dict=dict)
    monkeypatch.setattr(worker.environment, "take", lambda **_: taken)
    with torch_state.restored():
        yield fake


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
            fake_device.MODULE.is_lost = True
        raise LOST

    monkeypatch.setattr(worker, "_by_itself", by_itself)
    events: list[Event] = []
    worker.work(job(tmp_path), events.append, Running(tmp_path / "running"))
    assert outcomes(events) == [(index, Status.FAILED) for index in reached]


@pytest.mark.parametrize(("lost", "reached"), [(True, [1]), (False, [1, 0, 2])])
def test_a_device_lost_while_cells_take_turns_costs_the_one_that_lost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device, lost: bool, reached: list[int]
) -> None:
    running = Running(tmp_path / "running")

    def time(ready: list[Ready], *_: object, **__: object) -> dict[str, Metrics]:
        if len(ready) == len(CELLS):
            running.start(1)
            if lost:
                fake_device.MODULE.is_lost = True
            raise LOST
        return {one.cell.key: {} for one in ready}

    monkeypatch.setattr(timing, "_time", time)
    events: list[Event] = []
    timing.time_in_turn(ready(), job(tmp_path), events.append, running, "fake", device=device)
    assert [index for index, _ in outcomes(events)] == reached
    assert running.current() == (None, 0.0)


@pytest.mark.parametrize(("dtype", "known"), [("float32", True), ("bfloat16", False)])
def test_a_cell_whose_type_has_no_limit_has_a_latency_and_no_bound(tmp_path: Path, dtype: str, known: bool) -> None:
    cell = Cell(mechanism="a", height=64, width=64, dtype=dtype)
    one = Ready(
        index=0,
        cell=cell,
        model=nn.Identity(),
        x=torch.zeros(1, 3, 2, 2),
        call=lambda: None,
        layers=1,
        parameters_bytes=0,
        found={"macs": 7, "bytes_lower_bound": 8},
    )
    limits = roofline.MachineLimits(device="cpu", threads=1, macs_per_s={"float32": 1e9}, bytes_per_s=1e9)
    measured = replace(
        job(tmp_path),
        assignments=(Assignment(cell=cell),),
        settings=Settings(max_time_s=0.01),
        limits={"fake": limits.to_dict()},
    )
    events: list[Event] = []
    timing.time_in_turn([one], measured, events.append, Running(tmp_path / "running"), "fake", device=CpuDevice("cpu"))
    (timed,) = (event for event in events if event["event"] == "timed")
    assert timed["metrics"]["latency_median_s"] > 0
    assert ("roofline_fraction" in timed["metrics"]) is known


def test_samples_hold_the_baseline_s_calls_and_those_of_a_row_that_is_there_stay(tmp_path: Path) -> None:
    """A ratio can be worked out again from its own file, whatever the baseline is timed beside later."""
    baseline, later = (replace(cell, device="cpu") for cell in CELLS[:2])
    kept = tmp_path / f"{baseline.key}.npz"
    kept.write_bytes(b"as they were")
    beside = Job(
        assignments=(Assignment(cell=later), Assignment(cell=baseline, companion=True)),
        baseline=baseline.key,
        settings=Settings(max_time_s=0.01),
        samples=str(tmp_path),
    )
    cells = [replace(one, cell=cell) for one, cell in zip(ready(), (later, baseline), strict=False)]
    events: list[Event] = []
    timing.time_in_turn(cells, beside, events.append, Running(tmp_path / "running"), "", device=CpuDevice("cpu"))

    assert kept.read_bytes() == b"as they were"
    ratio = next(event["metrics"]["latency_ratio"] for event in events if event["event"] == "timed")
    with np.load(tmp_path / f"{later.key}.npz") as arrays:
        own, reference = (arrays[f"{of}elapsed_ns"] / arrays[f"{of}calls_per_sample"] for of in ("", "baseline_"))
        assert arrays["baseline_key"] == baseline.key
    assert np.median(own / reference) == pytest.approx(ratio)


def test_a_call_that_fails_leaves_the_kernels_of_attention_as_they_were(tmp_path: Path) -> None:
    def broken() -> None:
        raise ArithmeticError

    cell = Cell(mechanism="a", height=64, width=64, sdpa="math")
    one = Ready(
        index=0,
        cell=cell,
        model=nn.Identity(),
        x=torch.zeros(1, 3, 2, 2),
        call=broken,
        layers=1,
        parameters_bytes=0,
        found={},
    )
    events: list[Event] = []
    timing.time_in_turn([one], job(tmp_path), events.append, Running(tmp_path / "running"), "", device=CpuDevice("cpu"))
    assert outcomes(events) == [(0, Status.FAILED)]
    assert torch.backends.cuda.flash_sdp_enabled()


def test_a_device_without_room_for_what_timing_needs_is_out_of_memory_for_each_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(device, "timer", full)
    events: list[Event] = []
    timing.time_in_turn(ready(), job(tmp_path), events.append, Running(tmp_path / "running"), "fake", device=device)
    assert outcomes(events) == [(index, Status.OUT_OF_MEMORY) for index in range(3)]


def ready() -> list[Ready]:
    return [
        Ready(
            index=index,
            cell=cell,
            model=nn.Identity(),
            x=torch.zeros(1, 3, 2, 2),
            call=lambda: None,
            layers=1,
            parameters_bytes=0,
            found={},
        )
        for index, cell in enumerate(CELLS)
    ]


def one_that_is_timed(tmp_path: Path) -> tuple[Ready, Job]:
    cell = Cell(mechanism="a", height=64, width=64)
    one = replace(ready()[0], cell=cell)
    settings = Settings(max_time_s=0.01)
    return one, replace(job(tmp_path), assignments=(Assignment(cell=cell),), settings=settings)


def test_samples_that_cannot_be_written_are_a_warning_and_the_row_stands(tmp_path: Path) -> None:
    one, asked = one_that_is_timed(tmp_path)
    (tmp_path / "file").touch()
    asked = replace(asked, samples=str(tmp_path / "file" / "samples"))
    said: list[Event] = []
    timing.time_in_turn([one], asked, said.append, Running(tmp_path / "running"), "", device=CpuDevice("cpu"))
    assert [event["cell"] for event in said if event["event"] == "timed"] == [0]
    (warning,) = (event["text"] for event in said if event["event"] == "warning")
    assert "Not a directory" in warning


@pytest.mark.parametrize("place", ["_latency_metrics", "_bound"])
def test_what_is_raised_outside_a_call_is_the_row_of_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(timing, place, broken)
    one, asked = one_that_is_timed(tmp_path)
    said: list[Event] = []
    with pytest.raises(ArithmeticError):
        timing.time_in_turn([one], asked, said.append, Running(tmp_path / "running"), "", device=CpuDevice("cpu"))
    assert outcomes(said) == []


def test_what_is_raised_between_the_rounds_is_the_row_of_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(timing._Heartbeat, "beat", broken)
    one, asked = one_that_is_timed(tmp_path)
    with pytest.raises(OSError, match="No space"):
        timing.time_in_turn([one], asked, [].append, Running(tmp_path / "running"), "", device=CpuDevice("cpu"))


def test_a_thread_that_a_plugin_left_behind_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It sleeps for longer than a test may take."""
    (tmp_path / "lingering.py").write_text(
        "import threading, time\n"
        "from attnbench.mechanisms.mhsa import MHSA\n"
        "threading.Thread(target=time.sleep, args=(3600,)).start()\n"
        "class Lingering(MHSA): pass\n"
    )
    cell = Cell(
        mechanism=f"{tmp_path}/lingering.py:Lingering", task=Task.COUNTS, scope=Scope.LAYER,
        height=64, width=64, stage=3, dim=8, heads=2, depth=1,
    )  # fmt: skip
    (record,) = runner.run(Sweep(cells=(cell,), baselines={}), settings=Settings(timeout_s=500), folder=tmp_path)
    assert record.status is Status.OK, record.reason


@pytest.mark.parametrize("in_whose", ["ours", "theirs"])
def test_threads_are_watched_in_the_turns_of_cells_that_are_no_plugins(in_whose: str, tmp_path: Path) -> None:
    spent = {"a thread": 0.0}
    now = [0.0]

    def call(name: str) -> None:
        now[0] += 1.0
        spent["a thread"] += name == in_whose

    cells = [replace(CELLS[0], device="cpu", mechanism=name, distribution=name) for name in ("attnbench 1", "theirs 1")]
    both = [
        replace(one, index=index, cell=cell, call=partial(call, name))
        for index, (one, cell, name) in enumerate(zip(ready(), cells, ("ours", "theirs"), strict=False))
    ]
    watch = OthersTurns(lambda: dict(spent), lambda: now[0])
    house: Any = SimpleNamespace(others_turns=lambda: watch, busy_cores=lambda: 0.0, settle=Settled)
    beside = replace(
        job(tmp_path), assignments=tuple(Assignment(cell=cell) for cell in cells), settings=Settings(max_time_s=0.01)
    )
    events: list[Event] = []
    running = Running(tmp_path / "running")
    timing.time_in_turn(both, beside, events.append, running, "", device=CpuDevice("cpu"), house=house)
    rejected = [event["reason"] for event in events if event["event"] == "done"]
    assert len(rejected) == (in_whose == "ours")
    assert all("keeps 1.0 cores busy in others' turns" in reason for reason in rejected)
