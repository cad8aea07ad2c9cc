"""Waiting until nobody else uses the machine."""

from __future__ import annotations

import pytest

from attnbench.devices import idle, machine
from attnbench.devices.idle import IdleWait
from attnbench.devices.machine import CpuTime


def cores_busy(monkeypatch: pytest.MonkeyPatch, seconds: float, *, of: int = 2) -> None:
    """Have others keep the cores busy for so many seconds while the machine is watched for two."""
    said, clock = iter([CpuTime(busy_s=10, stolen_s=0), CpuTime(busy_s=10 + seconds, stolen_s=0)]), iter([0.0, 2.0])
    monkeypatch.setattr(machine, "usable_cores", lambda: frozenset(range(of)))
    monkeypatch.setattr(machine, "cpu_time", lambda _: next(said))
    monkeypatch.setattr(idle.time, "monotonic", lambda: next(clock))


@pytest.mark.parametrize(
    ("seconds", "cores", "gpu", "said"),
    [
        (0.1, 2, None, ""),
        (2.6, 2, "0\n1\n", "others keep 1.3 of 2 cores busy"),
        (1.0, 96, "0", ""),
        (0.0, 2, "0\n87\n", "a GPU is 87 % in use"),
        (0.0, 2, "[N/A]\n", ""),
    ],
)
def test_who_else_uses_the_machine_is_said(
    seconds: float, cores: int, gpu: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores_busy(monkeypatch, seconds, of=cores)
    assert idle.disturbances(sleep=lambda _: None, run=lambda _: gpu) == said


def test_it_is_waited_up_to_a_time_and_then_said() -> None:
    now, told = [0.0], list[str]()

    def busy() -> str:
        now[0] += 25
        return "others keep 1.3 of 2 cores busy"

    said = IdleWait(within_s=100, say=told.append, look=busy, clock_s=lambda: now[0]).wait()
    assert said == "the machine was not idle within 100 s: others keep 1.3 of 2 cores busy"
    assert now[0] == 100
    assert told == [
        f"waiting up to {left} s for the machine to be idle: others keep 1.3 of 2 cores busy" for left in (75,)
    ]
