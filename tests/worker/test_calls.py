"""What is done around a timed call, and in which order: the same for all that take turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from attnbench.axes import COLD, WARM
from attnbench.devices.cpu import CpuDevice
from attnbench.record import Cell
from attnbench.worker.calls import TimedCalls
from attnbench.worker.surroundings import Turns


@dataclass
class Noting:
    """A witness and a world that note what is asked of them, in one list."""

    name: str
    done: list[str]
    cell: Cell = field(default_factory=lambda: Cell(mechanism="a", height=1, width=1))

    def __getattr__(self, asked: str) -> Any:
        return lambda: self.done.append(f"{self.name}: {asked}") or []


def calls(caches: list[str], done: list[str]) -> TimedCalls:
    """Return the calls of cells with such caches."""
    cells = [Cell(mechanism=f"{index}", height=1, width=1, cache=cache) for index, cache in enumerate(caches)]
    witnesses: Any = [Noting(f"{index}", done, cell) for index, cell in enumerate(cells)]
    worlds: Any = [Noting(f"world {index}", done) for index in range(len(cells))]
    return TimedCalls(witnesses, Turns(worlds), device=CpuDevice("cpu"), flush=lambda: done.append("flush"))


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        (COLD, ["0: prepare", "flush", "world 0: put_on"]),
        (WARM, ["0: prepare", "world 0: put_on", "0: call", "world 0: take_off", "0: prepare", "world 0: put_on"]),
    ],
)
def test_new_values_come_last_but_for_the_state_of_the_caches_and_the_plugins_world(
    cache: str, expected: list[str]
) -> None:
    done: list[str] = []
    calls([cache], done).before(0)
    assert done == expected


def test_nothing_of_the_harness_runs_in_a_plugins_world() -> None:
    done: list[str] = []
    two = calls([COLD, COLD], done)
    two.before(0)
    two.after(0)
    two.before(1)  # without a look at what it returned, as while it is warmed up
    two.before(0)
    two.end()
    assert done == [
        "0: prepare", "flush", "world 0: put_on", "world 0: take_off", "0: testify",
        "1: prepare", "flush", "world 1: put_on", "world 1: take_off",
        "0: prepare", "flush", "world 0: put_on", "world 0: take_off",
    ]  # fmt: skip
