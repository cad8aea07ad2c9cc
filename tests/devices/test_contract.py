"""What holds of every kind of device, here of the CPU and of another package's accelerator."""

from __future__ import annotations

import fake_device
import pytest
import torch

from attnbench import devices
from attnbench.devices.device import Device
from attnbench.devices.energy import counter_of


@pytest.fixture(params=["cpu", "fake:1"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    fake_device.know(monkeypatch)
    return devices.of(request.param)


def test_it_is_there_under_its_name(device: Device) -> None:
    assert device.name in type(device).present()
    assert devices.names.kind(device.name) == device.kind


def test_tensors_can_be_put_on_it_and_waited_for(device: Device) -> None:
    x = torch.ones(3, device=device.where)
    device.synchronize()
    assert x.sum().item() == 3
    assert not device.lost()


def test_its_timer_runs_a_call_as_often_as_told(device: Device) -> None:
    calls: list[int] = []
    took = device.timer().sample(lambda: calls.append(1), 3)
    assert len(calls) == 3
    assert took.ns >= took.host_ns > 0


def test_the_peak_is_taken_of_a_second_call_after_what_the_first_left_is_forgotten(device: Device) -> None:
    order: list[str] = []
    found = device.peak(lambda: order.append("call"), lambda: order.append("forget"))
    assert order == ["call", "forget", "call"]
    assert found.peak_bytes >= 0


def test_its_random_state_is_what_it_was_after_the_block(device: Device) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1, device=device.where)
    torch.manual_seed(0)
    with device.forked_random():
        torch.manual_seed(1)
        torch.rand(5, device=device.where)
    assert torch.equal(torch.rand(1, device=device.where), expected)


def test_its_switches_take_what_they_give(device: Device) -> None:
    for switch in device.switches.values():
        switch.write(switch.read())


def test_what_it_does_not_know_it_does_not_make_up(device: Device) -> None:
    free = device.free_bytes()
    assert free is None or free > 0
    assert (device.model is None) == (device.describe() is None)
    assert counter_of(device)
