"""What the machine's limits and a cell's other figures say against it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnbench import devices
from attnbench.probes.limits import Rate
from attnbench.record import Cell, Mode
from attnbench.roofline import MachineLimits
from attnbench.worker import judge

CELL = Cell(mechanism="mhsa", height=224, width=224, dtype="float32", batch=2)
FOUND = {"macs_least": 1_000_000_000}


def machine(rate: float, uncertainty: float = 0.0) -> MachineLimits:
    return MachineLimits(
        device="cpu", threads=1, macs_per_s={"float32": rate}, bytes_per_s=1e10, uncertainty={"float32": uncertainty}
    )


def judged(
    high_s: float,
    *,
    cell: Cell = CELL,
    known: float = 1e11,
    again: float = 1e11,
    uncertainty: float = 0.0,
    share: float = 1.0,
):
    timed = {"latency_median_s": high_s, "latency_ci_high_s": high_s}
    before = machine(known, uncertainty).to_dict()
    return judge.of_time(cell, FOUND, timed, before, lambda: judge.MeasuredAgain(limits=machine(again), share=share))


def never() -> judge.MeasuredAgain:
    raise AssertionError("measured again without need")


def test_a_time_below_what_the_machine_can_do_is_rejected_with_its_figures() -> None:
    (found,) = judged(0.002)
    assert found.sure
    assert found.said == (
        "2.00 ms is 8 times as fast as this machine can be: 2.00 GMACs take 16.0 ms at least, at 100 GMACs/s of "
        "float32 measured again beside it"
    )


def test_a_time_within_the_uncertainty_stands_and_nothing_is_measured_again() -> None:
    timed = {"latency_median_s": 0.0161, "latency_ci_high_s": 0.0161}
    assert judge.of_time(CELL, FOUND, timed, machine(1e11).to_dict(), never) == []


def test_limits_that_were_taken_on_a_busy_machine_are_measured_again_before_a_row_is_rejected() -> None:
    assert judged(0.002, known=1e11, again=9e11) == []
    assert judged(0.002, known=1e11, again=2e11)


def test_what_was_measured_on_a_busy_machine_makes_a_row_suspicious_and_no_more() -> None:
    (found,) = judged(0.002, share=0.5)
    assert not found.sure


def test_a_rate_is_what_it_would_be_had_other_programs_left_the_processor_alone(monkeypatch) -> None:
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(judge.time, "perf_counter", lambda: next(clock))
    worked = iter([0.0, 2.5 * torch.get_num_threads()])
    monkeypatch.setattr(judge.time, "process_time", lambda: next(worked))
    monkeypatch.setattr(judge.limits, "products_rate", lambda *_: Rate(per_s=1e9, spread=0.0))
    found = judge.measured_again(CELL, devices.of("cpu"))()
    assert found.share == 0.25
    assert found.limits.macs_per_s == {"float32": 4e9}


def test_samples_that_differ_make_limits_uncertain() -> None:
    assert judged(0.012)
    assert judged(0.012, uncertainty=0.8) == []


def test_of_a_training_step_two_passes_are_certain() -> None:
    step = Cell(mechanism="mhsa", height=224, width=224, dtype="float32", batch=2, mode=Mode.TRAIN)
    assert judged(0.02, cell=step)
    assert judged(0.033, cell=step) == []


def test_a_compiled_cell_is_suspicious_only() -> None:
    compiled = Cell(mechanism="mhsa", height=224, width=224, dtype="float32", batch=2, compiled=True)
    (found,) = judged(0.002, cell=compiled)
    assert not found.sure


@pytest.mark.parametrize(("found", "known"), [(FOUND, None), ({}, machine(1e11).to_dict())])
def test_without_limits_or_counts_nothing_is_judged(found, known) -> None:
    timed = {"latency_median_s": 1e-9, "latency_ci_high_s": 1e-9}
    assert judge.of_time(CELL, found, timed, known, never) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"macs_closed": 100, "macs_torch": 100}, []),
        ({"macs_closed": 100, "macs_torch": None}, []),
        ({"macs_closed": 50, "macs_torch": 100}, ["the closed form says 50, 50% less than torch counts, 100"]),
        ({"memory_outside_bytes": None, "memory_peak_bytes": 2**20}, []),
        (
            {"memory_outside_bytes": 2**25, "memory_peak_bytes": 2**20},
            [
                "a call takes 32.0 MiB past torch's allocator, beside the 1.00 MiB of its peak: numpy, mmap or ctypes",
            ],
        ),
    ],
)
def test_counts_and_memory_that_speak_against_a_cell_make_it_suspicious(found, said: list[str]) -> None:
    objections = judge.of_figures(found)
    assert [each.said for each in objections] == said
    assert not any(each.sure for each in objections)


def beyond(most_s: float | None, *, known: float = 1e11, again: float = 1e11, cell: Cell = CELL) -> str:
    before = machine(known).to_dict()
    beside = judge.MeasuredAgain(limits=machine(again))
    return judge.beyond_budget(cell, FOUND, before, lambda: beside, most_s=most_s)


def test_what_cannot_keep_a_limit_by_its_multiply_adds_is_said_with_the_figures() -> None:
    assert beyond(0.015) == (
        "its 2.00 GMACs take 16.0 ms at least, at 1.25 times the 100 GMACs/s of float32 that this machine was seen to "
        "reach; --max-latency is 15.0 ms; not timed"
    )
    assert "take 32.0 ms at least" in beyond(0.015, cell=replace(CELL, mode=Mode.TRAIN))


def test_what_may_keep_a_limit_is_timed_and_nothing_is_measured_again() -> None:
    known = machine(1e11).to_dict()
    assert judge.beyond_budget(CELL, FOUND, known, never, most_s=0.0161) == ""
    assert judge.beyond_budget(CELL, FOUND, known, never, most_s=None) == ""
    assert judge.beyond_budget(CELL, {}, known, never, most_s=0.001) == ""
    assert judge.beyond_budget(CELL, FOUND, None, never, most_s=0.001) == ""


def test_limits_that_were_taken_on_a_busy_machine_keep_nobody_from_being_timed() -> None:
    assert beyond(0.015, known=5e10, again=2e11) == ""
    assert beyond(0.007, known=5e10, again=2e11)
