"""The energy of a call, on a machine whose clock and counter only its calls move on."""

from __future__ import annotations

import random

import pytest
from scipy import stats

from attnbench.devices.energy import NoCounterError
from attnbench.probes.energy import WINDOWS, CallEnergy, measure

IDLE_W = 20.0


class Machine:
    """Takes 20 W at rest; a call takes some seconds and joules, the latter with noise where asked."""

    name = "a counter"

    def __init__(self, *, call_s: float, call_j: float, noise_j: float = 0.0, stuck: bool = False) -> None:
        self.now = self.joules = 0.0
        self.call_s, self.call_j, self.noise_j, self.stuck = call_s, call_j, noise_j, stuck
        self.random = random.Random(0)
        self.marks: list[tuple[float, float]] = []
        self.calls: list[int] = [0]
        self.waiting = 0

    def read_j(self) -> float:
        assert not self.waiting, "read before the work was done"
        self.marks.append((self.now, self.joules))
        self.calls.append(0)
        return 0.0 if self.stuck else self.joules

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.joules += IDLE_W * seconds

    def call(self) -> None:
        self.waiting += 1
        self.calls[-1] += 1

    def wait(self) -> None:
        for _ in range(self.waiting):
            self.now += self.call_s
            self.joules += self.call_j + self.random.gauss(0, self.noise_j)
        self.waiting = 0

    def measure(self, *, at_least_s: float = 5.0) -> CallEnergy:
        return measure(
            self.call, counter=self, wait=self.wait, at_least_s=at_least_s, clock=lambda: self.now, sleep=self.sleep
        )


def test_the_energy_is_that_of_a_call_and_the_idle_power_is_beside_it() -> None:
    found = Machine(call_s=0.01, call_j=0.7).measure()
    assert found.value_j == pytest.approx(0.7)
    assert found.idle_w == pytest.approx(IDLE_W)
    assert found.counter == "a counter"


@pytest.mark.parametrize("call_s", [1e-4, 0.03, 0.7])
def test_the_windows_last_as_long_as_asked_and_have_as_many_calls_each(call_s: float) -> None:
    machine = Machine(call_s=call_s, call_j=1.0)
    machine.measure(at_least_s=5.0)
    times = [now for now, _ in machine.marks[-WINDOWS - 1 :]]
    assert times[-1] - times[0] >= 5.0 - 1e-9
    assert len(set(machine.calls[-WINDOWS - 1 : -1])) == 1


def test_the_interval_is_students_over_the_windows() -> None:
    machine = Machine(call_s=0.1, call_j=1.0, noise_j=0.2)
    found = machine.measure()
    joules = [after[1] - before[1] for before, after in zip(machine.marks[2:-1], machine.marks[3:], strict=True)]
    each = [joule / 5 for joule in joules]
    assert len(each) == WINDOWS
    low, high = stats.t.interval(0.95, WINDOWS - 1, loc=sum(each) / WINDOWS, scale=stats.sem(each))
    assert (found.low_j, found.high_j) == pytest.approx((low, high))
    assert found.low_j < 1.0 < found.high_j


def test_a_counter_that_stands_still_is_none_and_not_zero() -> None:
    with pytest.raises(NoCounterError, match="a counter stood still"):
        Machine(call_s=0.1, call_j=1.0, stuck=True).measure()
