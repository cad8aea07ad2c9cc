"""Waiting, on a clock that tests turn: what a stop takes is not charged."""

import os
import signal
import subprocess
import sys
import time

import pytest

from attnbench.child.patience import Patience


class Clock:
    def __init__(self) -> None:
        self.now, self.parts = 0.0, []

    def __call__(self) -> float:
        return self.now

    def nothing(self, seconds: float) -> bool:
        self.now += seconds
        self.parts.append(seconds)
        return False


def test_nothing_comes_within_the_time() -> None:
    clock = Clock()
    assert not Patience(100, clock=clock).wait(clock.nothing)
    assert clock.now == pytest.approx(100)
    assert len(clock.parts) in (20, 21)  # the sum of twentieths is rounded


def test_a_wait_goes_on_where_the_last_ended() -> None:
    clock = Clock()
    patience = Patience(100, clock=clock)

    def comes_in_the_third_part(seconds: float) -> bool:
        clock.nothing(seconds)
        return len(clock.parts) == 3

    assert patience.wait(comes_in_the_third_part)
    assert not patience.wait(clock.nothing)
    assert clock.now == pytest.approx(100)


def test_time_in_which_this_process_was_stopped_is_not_charged() -> None:
    clock = Clock()

    def stopped_for_an_hour_once(seconds: float) -> bool:
        clock.nothing(seconds)
        if len(clock.parts) == 5:
            clock.now += 3600
        return False

    assert not Patience(100, clock=clock).wait(stopped_for_an_hour_once)
    assert clock.now == pytest.approx(3700)


def test_no_time_at_all_still_listens_once() -> None:
    heard = []
    assert not Patience(-1.0).wait(lambda seconds: bool(heard.append(seconds)))
    assert heard == [0.0]


STOPPED = """
import select
from attnbench.child.patience import Patience
print("waits", flush=True)
print(Patience(2.0).wait(lambda seconds: bool(select.select([], [], [], seconds)[0])), flush=True)
"""


def test_a_process_that_is_stopped_waits_for_the_rest_of_its_time_afterwards() -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        os.kill(waiting.pid, signal.SIGSTOP)
        time.sleep(2.5)  # longer than it is to wait in all
        os.kill(waiting.pid, signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=0.3)
        assert waiting.stdout.readline() == "False\n"
