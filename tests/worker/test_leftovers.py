"""What is left in a process: files, threads, processes, cores that are kept busy."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from attnbench.worker.leftovers import Leftovers, OthersTurns


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as ends:
        yield ends


def threads(stack: ExitStack, count: int, target: Callable[[], object] | None = None) -> None:
    """Start threads that end with the test."""
    over = threading.Event()
    for _ in range(count):
        started = threading.Thread(target=target or over.wait, daemon=True)
        started.start()
        stack.callback(started.join)
    stack.callback(over.set)


def test_a_few_files_and_threads_are_a_librarys(stack: ExitStack) -> None:
    before = Leftovers()
    for _ in range(20):
        stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
    threads(stack, 4)
    assert before.harmful() == []


def test_many_files_are_found(stack: ExitStack) -> None:
    before = Leftovers()
    for _ in range(100):
        stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
    assert before.harmful() == ["leaves 100 files open"]


def test_a_file_that_was_closed_is_found_though_another_has_its_number() -> None:
    receiving, sending = os.pipe()
    before = Leftovers()
    os.close(receiving)
    other = os.open(os.devnull, os.O_RDONLY)
    assert other == receiving
    try:
        assert before.harmful() == [f"closes descriptors: {receiving}"]
    finally:
        os.close(other)
        os.close(sending)


def test_many_threads_are_found(stack: ExitStack) -> None:
    before = Leftovers()
    threads(stack, 40)
    assert before.harmful() == ["leaves 40 threads running"]


def test_a_process_is_found_until_it_has_ended() -> None:
    before = Leftovers()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes():
            pass  # it is not yet the program that it becomes
        assert before.harmful() == ["leaves 1 process running"]
    finally:
        child.communicate(b"\n")
    assert before.harmful() == []


def test_cores_are_at_rest_where_nothing_was_started_or_what_was_sleeps(stack: ExitStack) -> None:
    before = Leftovers()
    assert before.busy_cores() == 0
    threads(stack, 3)
    assert before.busy_cores() == 0


def test_a_thread_that_never_rests_is_found(stack: ExitStack) -> None:
    before = Leftovers()
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            pass

    threads(stack, 1, spin)
    stack.callback(over.set)
    assert before.busy_cores() > 0.1


def test_what_comes_to_rest_in_time_is_not_held_against_it(stack: ExitStack) -> None:
    before = Leftovers()
    turns = iter(range(300_000))
    threads(stack, 1, lambda: [None for _ in turns])
    assert before.busy_cores() == 0


class Counted:
    """Threads and a clock that are counted instead of run."""

    def __init__(self) -> None:
        self.now, self.spent = 0.0, {"a thread": 0.0}

    def pass_by(self, seconds: float, *, busy: float) -> None:
        self.now += seconds
        self.spent = {**self.spent, "a thread": self.spent["a thread"] + busy * seconds}


@pytest.mark.parametrize(("busy", "cores"), [(0.0, 0.0), (0.05, 0.0), (0.4, 0.4), (2.0, 2.0)])
def test_what_is_busy_in_the_turns_of_others_alone_is_found(busy: float, cores: float) -> None:
    counted = Counted()
    others = OthersTurns(lambda: counted.spent, lambda: counted.now)
    for _ in range(10):
        others.begin()
        counted.pass_by(1.0, busy=busy)
        others.end()
        others.end()  # of a turn that is a plugin's, which had no beginning
        counted.pass_by(3.0, busy=1.0)  # in its own turn it may do as it likes
    assert others.busy_cores == pytest.approx(cores)


def test_a_thread_that_is_new_in_a_turn_counts_from_the_next_on() -> None:
    counted = Counted()
    others = OthersTurns(lambda: counted.spent, lambda: counted.now)
    others.begin()
    counted.spent = {"another": 7.0}
    counted.now = 1.0
    others.end()
    assert others.busy_cores == 0


def test_without_a_turn_of_others_nothing_is_said() -> None:
    assert OthersTurns(dict).busy_cores == 0
