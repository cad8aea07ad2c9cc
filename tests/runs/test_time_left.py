"""What is said to be left of a sweep, on a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from attnbench.record import Cell, Task
from attnbench.runs.progress import Progress
from attnbench.runs.time_left import TimeLeft

NAMES = ("mhsa", "swin", "qna")


def cells(size: int, task: Task = Task.COST) -> tuple[Cell, ...]:
    return tuple(Cell(mechanism=name, height=size, width=size, task=task) for name in NAMES)


class Sweep:
    """A sweep that is measured on a clock of its own, and what it says is left after each second."""

    def __init__(self, *groups: tuple[Cell, ...], timing_s: float = 10.0) -> None:
        self.now_s, self.groups = 0.0, groups
        self.time = TimeLeft([cell for group in groups for cell in group], timing_s=timing_s, now_s=0.0)

    def phase(
        self, phase: str, of: tuple[Cell, ...], seconds: int, *, fractions: bool = False
    ) -> Iterator[float | None]:
        """Let a phase go on, and yield what is left at its start and after each second."""
        for second in range(seconds + 1):
            fraction = second / seconds if fractions and second else None
            self.time.watch(Progress(cells=of, phase=phase, fraction=fraction), self.now_s)
            yield self.time.seconds(self.now_s)
            self.now_s += second < seconds

    def prepare(self, group: tuple[Cell, ...], each_s: int) -> Iterator[float | None]:
        for cell in group:
            yield from self.phase("counting", (cell,), each_s)

    def group(self, group: tuple[Cell, ...], each_s: int, timing_s: int, warm_s: int = 0) -> Iterator[float | None]:
        yield from self.prepare(group, each_s)
        yield from self.phase("warming up", group, warm_s)
        yield from self.phase("timing", group, timing_s, fractions=True)
        for cell in group:
            yield from self.phase("verifying", (cell,), 1)
            self.time.end(cell, self.now_s)


def test_nothing_is_said_until_something_is_known_and_nothing_is_left_at_the_end() -> None:
    sweep = Sweep(cells(64))
    told = list(sweep.group(sweep.groups[0], 4, 30))
    assert told[:3] == [None, None, None]
    assert told[-1] == 0
    assert sweep.time.seconds(sweep.now_s) == 0


def test_while_a_later_group_is_counted_less_and_less_is_left() -> None:
    sweep = Sweep(cells(64), cells(128), cells(256))
    list(sweep.group(sweep.groups[0], 4, 30))
    told = [one for one in sweep.prepare(sweep.groups[1], 4) if one is not None]
    assert len(told) == 3 * 5
    assert told == sorted(told, reverse=True)
    assert told[0] - told[-1] == pytest.approx(12)


def test_what_takes_longer_than_expected_takes_nothing_off_what_stands_behind_it() -> None:
    sweep = Sweep(cells(64), cells(64 + 32), cells(128))
    list(sweep.group(sweep.groups[0], 4, 30))
    told = [one for one in sweep.phase("counting", sweep.groups[1][:1], 1000) if one is not None]
    assert told == sorted(told, reverse=True)
    # Its own timing, two others to count, and a group of which nothing is known but what the first one took.
    assert told[-1] >= 30 + 2 * 4 + 30 + 3 * 4


def test_the_rest_is_what_it_turns_out_to_be_where_cells_take_what_they_took() -> None:
    sweep = Sweep(*(cells(size) for size in (64, 128, 256)), timing_s=10)
    said: dict[float, float] = {}
    for group, warm_s in zip(sweep.groups, (3, 12, 48), strict=True):
        for left in sweep.group(group, 5, 30, warm_s):
            said |= {} if left is None else {sweep.now_s: left}
    late = {now_s: left for now_s, left in said.items() if now_s > 55}
    assert all(left == pytest.approx(sweep.now_s - now_s, rel=0.35, abs=12) for now_s, left in late.items())


def test_timing_that_the_fewest_calls_draw_out_is_expected_of_larger_images_too() -> None:
    sweep = Sweep(cells(64), cells(128))
    list(sweep.group(sweep.groups[0], 1, 60))
    assert sweep.time.seconds(sweep.now_s) == pytest.approx(4 * 60 + 6, rel=0.1)


def test_cells_that_are_only_counted_are_expected_to_take_what_others_took() -> None:
    sweep = Sweep(cells(64, Task.COUNTS), cells(128, Task.COUNTS))
    for cell in sweep.groups[0]:
        list(sweep.phase("counting", (cell,), 5))
        sweep.time.end(cell, sweep.now_s)
    assert sweep.time.seconds(sweep.now_s) == pytest.approx(3 * 5)
    told = [one for one in sweep.phase("counting", sweep.groups[1][:1], 30) if one is not None]
    assert told == sorted(told, reverse=True)
    assert told[-1] == pytest.approx(2 * 5)


def test_a_training_says_itself_how_far_it_is() -> None:
    sweep = Sweep(cells(32, Task.ACCURACY))
    told = list(sweep.phase("training", sweep.groups[0][:1], 100, fractions=True))
    assert told[0] is None
    assert told[25] == pytest.approx(75 + 200)
    assert told[100] == pytest.approx(200)


def test_what_is_verified_after_a_timing_is_part_of_what_is_left_of_it() -> None:
    sweep = Sweep(cells(64), cells(96))
    list(sweep.group(sweep.groups[0], 4, 30))
    told = list(sweep.group(sweep.groups[1], 4, 30))
    at_end_of_timing = told[3 * 5 + 1 + 30]
    assert at_end_of_timing == pytest.approx(3)


def test_verifying_is_expected_to_take_what_the_warm_up_took_until_a_group_was_verified() -> None:
    sweep = Sweep(cells(64), cells(64 + 8))
    told = list(sweep.group(sweep.groups[0], 4, 30, warm_s=3))
    timing = told[3 * 5 + 4 :][:31]
    assert timing[-1] == pytest.approx(3 + 30 + 3 * 4 + 3 + 3, rel=0.1)  # a second a cell, and another such group
    verifying = told[-3 * 2 :]
    assert verifying == sorted(verifying, reverse=True)
