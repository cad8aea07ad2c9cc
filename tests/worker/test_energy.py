"""The energy of a cell, from a device with a counter and from one without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import fake_device
import pytest
import torch
from torch import nn

from attnbench import devices
from attnbench.devices import cpu
from attnbench.devices.accelerator import Accelerator
from attnbench.devices.device import Device
from attnbench.devices.rapl import Rapl
from attnbench.probes import energy
from attnbench.probes.energy import CallEnergy
from attnbench.record import Cell, Status
from attnbench.runs.job import Assignment, Event, Job, Running, Settings
from attnbench.worker import timing
from attnbench.worker.energy import measure_energy
from attnbench.worker.ready import Ready


class Counter:
    name = "a counter"

    def read_j(self) -> float:
        return 0.0


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    fake_device.know(monkeypatch)
    return devices.of("fake:0")


def ready(*, batch: int, layers: int) -> Ready:
    cell = Cell(mechanism="a", height=64, width=64, device="fake:0", batch=batch)
    return Ready(
        index=0,
        cell=cell,
        model=nn.Identity(),
        x=torch.zeros(1, 3, 2, 2),
        call=lambda: None,
        layers=layers,
        parameters_bytes=0,
        found={},
    )


def test_energy_is_per_image_and_layer(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    found = CallEnergy(value_j=24.0, low_j=12.0, high_j=36.0, idle_w=5.0, counter="a counter")
    monkeypatch.setattr(device, "energy_counter", Counter)
    monkeypatch.setattr(energy, "measure", lambda *_, **__: found)
    assert measure_energy(ready(batch=4, layers=3), device, at_least_s=5, progress=lambda _: None) == {
        "energy_per_image_j": 2.0,
        "energy_per_image_ci_low_j": 1.0,
        "energy_per_image_ci_high_j": 3.0,
        "energy_idle_w": 5.0,
        "energy_counter": "a counter",
    }


def test_no_call_has_the_values_of_the_one_before(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    one, seen = ready(batch=1, layers=1), list[torch.Tensor]()
    noting = replace(one, call=lambda: seen.append(one.x.clone()))

    def measure(call: Callable[[], object], **_: object) -> CallEnergy:
        for _call in range(3):
            call()
        return CallEnergy(value_j=1.0, low_j=1.0, high_j=1.0, idle_w=1.0, counter="a counter")

    monkeypatch.setattr(device, "energy_counter", Counter)
    monkeypatch.setattr(energy, "measure", measure)
    measure_energy(noting, device, at_least_s=5, progress=lambda _: None)
    assert len({float(x[0, 0, 0, 0]) for x in seen}) == 3


def test_where_nothing_counts_it_there_is_no_energy_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    monkeypatch.setattr(device, "energy_counter", super(Accelerator, device).energy_counter)
    assert measure_energy(ready(batch=1, layers=1), device, at_least_s=5, progress=lambda _: None) == {
        "energy_remark": "nothing is known that counts the energy of fake:0"
    }


def timed(tmp_path: Path, device: Device, call: Callable[[], object], *, companion: bool = False) -> list[Event]:
    """Time a cell and measure its energy, and return what the worker says."""
    one = replace(ready(batch=1, layers=1), call=call)
    job = Job(
        assignments=(Assignment(cell=one.cell, companion=companion),), baseline="", samples=str(tmp_path),
        settings=Settings(max_time_s=0.01, energy=True, energy_s=0.01),
    )  # fmt: skip
    events: list[Event] = []
    timing.time_in_turn([one], job, events.append, Running(tmp_path / "running"), "fake", device=device)
    return events


def test_a_cell_that_is_timed_has_its_energy_beside_the_latency(tmp_path: Path, device: Device) -> None:
    *_, done = timed(tmp_path, device, lambda: None)
    assert done["metrics"]["latency_median_s"] > 0
    assert done["metrics"]["energy_per_image_j"] > 0
    assert done["metrics"]["energy_counter"] == fake_device.FakeCounter.name
    assert done["metrics"]["energy_idle_w"] > 0


def test_a_call_that_fails_while_its_energy_is_measured_keeps_its_latency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    def broken() -> None:
        raise ArithmeticError("no more")

    monkeypatch.setattr(device, "energy_counter", broken)
    events = timed(tmp_path, device, lambda: None)
    (known,) = (event["metrics"] for event in events if event["event"] == "metrics")
    assert known["latency_median_s"] > 0
    assert (events[-1]["status"], events[-1]["reason"]) == (Status.FAILED, "ArithmeticError: no more")


def test_a_cell_that_has_its_row_is_timed_beside_the_others_and_no_more(tmp_path: Path, device: Device) -> None:
    *_, done = timed(tmp_path, device, lambda: None, companion=True)
    assert "energy_per_image_j" not in done["metrics"]


def test_the_energy_is_that_of_the_kernel_that_was_asked_for(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    allowed: list[bool] = []

    def measure(*_: object, **__: object) -> CallEnergy:
        allowed.append(torch.backends.cuda.flash_sdp_enabled())
        return CallEnergy(value_j=1.0, low_j=1.0, high_j=1.0, idle_w=1.0, counter="a counter")

    monkeypatch.setattr(energy, "measure", measure)
    for sdpa in ("math", "auto"):
        one = ready(batch=1, layers=1)
        one = replace(one, cell=replace(one.cell, sdpa=sdpa))
        measure_energy(one, device, at_least_s=5, progress=lambda _: None)
    assert allowed == [False, True]


def test_the_energy_of_a_cpu_is_what_linux_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "sys/class/powercap/intel-rapl:0"
    package.mkdir(parents=True)
    (package / "name").write_text("package-0")
    (package / "max_energy_range_uj").write_text(str(10**15))
    counted = package / "energy_uj"
    counted.write_text(str(10**15 - 1_000_000))  # begins again while it is read
    monkeypatch.setattr(cpu, "Rapl", partial(Rapl, tmp_path))

    def burn() -> None:
        counted.write_text(str((int(counted.read_text()) + 3_000_000) % 10**15))

    one = replace(ready(batch=2, layers=1), call=burn)
    found = measure_energy(one, cpu.CpuDevice("cpu"), at_least_s=0.01, progress=lambda _: None)
    assert found["energy_per_image_j"] == pytest.approx(1.5)
    assert found["energy_per_image_ci_low_j"] == found["energy_per_image_ci_high_j"] == pytest.approx(1.5)
    assert (found["energy_idle_w"], found["energy_counter"]) == (0.0, "RAPL package-0")
