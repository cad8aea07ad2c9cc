"""Guesses of memory and time, by hand numbers: they decide who takes a group and how long a job may run."""

from dataclasses import replace

import pytest

from attnbench.fleet import needs
from attnbench.record import Cell, Mode, Scope, Task
from attnbench.runs.job import Settings

SETTINGS = Settings(max_time_s=1)
LAYER = Cell(mechanism="mhsa", scope=Scope.LAYER, height=1024, width=1024, stage=3, dim=384, heads=12, depth=4)
MIB = 2**20


def seconds(*cells: Cell) -> float:
    return needs.of(cells, SETTINGS).seconds


def held_mib(*cells: Cell) -> float:
    alone = needs.of([replace(LAYER, task=Task.COUNTS)], SETTINGS).memory_bytes  # nothing but the process
    return (needs.of(cells, SETTINGS).memory_bytes - alone) / MIB


def test_torch_gives_memory_back_and_runtimes_keep_it() -> None:
    exported = [replace(LAYER, runtime=name) for name in ("onnxruntime", "openvino")]
    assert held_mib(LAYER) == held_mib(LAYER, LAYER) == 264
    assert held_mib(LAYER, *exported) == 3 * 264


def test_what_is_exported_takes_time_for_that() -> None:
    small = replace(LAYER, height=32, width=32)
    assert seconds(replace(small, runtime="openvino")) - seconds(small) == 5


@pytest.mark.parametrize(
    ("changed", "longer"), [({}, 1), ({"mode": Mode.TRAIN}, 3), ({"batch": 4}, 4), ({"depth": 2}, 0.5)]
)
def test_calls_of_large_images_take_longer_than_they_are_timed_for(changed: dict[str, object], longer: float) -> None:
    small = replace(LAYER, height=32, width=32)
    assert seconds(replace(LAYER, **changed)) - seconds(small) == pytest.approx(20 * 0.4 * 1.048576 * longer - 1)


def test_nothing_is_guessed_of_the_calls_of_an_accelerator() -> None:
    there = replace(LAYER, device="cuda:0")
    assert seconds(there) == seconds(replace(there, height=32, width=32))
