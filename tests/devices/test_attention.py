"""Which kernels torch's fused attention may use, for a cell's own phases and for its timed calls."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from attnbench.axes import AXES
from attnbench.devices.attention import AUTO, Kernels, NoKernelError, allowed
from attnbench.plan.request import Request
from attnbench.plugins.options import resolve
from attnbench.plugins.registry import discover
from attnbench.probes.kernels import attention_kernels
from attnbench.pytest_bridge.call import MechanismBenchmark
from attnbench.record import Cell, Scope
from attnbench.runs.job import Assignment, Event, Job, Running, Settings
from attnbench.worker import torch_state
from attnbench.worker.main import work

X = torch.randn(1, 2, 16, 8)
CELL = Cell(mechanism="mhsa", scope=Scope.LAYER, height=32, width=32, stage=3, dim=32, heads=2, depth=1)
OPTIONS = resolve(discover().find("mhsa").load(), {})


def used() -> set[str]:
    with attention_kernels() as ran:
        scaled_dot_product_attention(X, X, X)
    return ran


@pytest.mark.parametrize("kernel", ["flash", "math"])
def test_the_kernel_that_is_asked_for_is_the_one_that_runs(kernel: str) -> None:
    with allowed(kernel):
        assert used() == {kernel}
    assert used() == {"flash"}


@pytest.mark.parametrize("kernel", ["efficient", "cudnn"])
def test_a_kernel_that_cannot_run_is_refused_with_torchs_reason_and_the_flags_are_put_back(kernel: str) -> None:
    with (
        pytest.raises(NoKernelError, match=f"torch cannot use its {kernel} kernel here: No viable backend"),
        allowed(kernel),
    ):
        used()
    assert used() == {"flash"}


def test_what_torch_warned_of_is_its_reason() -> None:
    with pytest.raises(NoKernelError, match="do not support non-zero dropout"), allowed("flash"):
        scaled_dot_product_attention(X, X, X, dropout_p=0.1)


def test_what_has_nothing_to_do_with_kernels_goes_through() -> None:
    with pytest.raises(ZeroDivisionError), allowed("math"):
        raise ZeroDivisionError
    with pytest.warns(UserWarning, match="mine"), allowed("math"):
        warnings.warn("mine", stacklevel=1)


def test_flags_are_set_from_call_to_call_and_auto_is_what_was_found() -> None:
    kernels = Kernels()
    try:
        for kernel, ran in [("math", "math"), (AUTO, "flash"), ("flash", "flash"), ("math", "math")]:
            kernels.allow(kernel)
            assert used() == {ran}
    finally:
        kernels.allow(AUTO)
    assert used() == {"flash"}


def test_a_cell_whose_kernel_cannot_run_is_unsupported_and_those_beside_it_are_timed_with_theirs(
    tmp_path: Path,
) -> None:
    cells = [replace(CELL, options=dict(OPTIONS), sdpa=kernel) for kernel in ("math", "efficient", AUTO)]
    job = Job(
        assignments=tuple(Assignment(cell=cell) for cell in cells), baseline=cells[2].key,
        settings=Settings(max_time_s=0.01), samples=str(tmp_path),
    )  # fmt: skip
    events: list[Event] = []
    with torch_state.restored():
        work(job, events.append, Running(tmp_path / "running"))

    ended = {event["cell"]: event for event in events if event["event"] in {"timed", "done"}}
    kernels = {
        event["cell"]: found["sdpa_kernels"]
        for event in events
        if "sdpa_kernels" in (found := event.get("metrics", {}))
    }
    assert {index: end.get("status", "timed") for index, end in ended.items()} == {
        0: "timed",
        1: "unsupported",
        2: "timed",
    }
    assert "torch cannot use its efficient kernel here" in ended[1]["reason"]
    assert kernels == {0: "math", 2: "flash"}
    assert used() == {"flash"}


def test_cells_that_differ_in_the_kernel_are_timed_in_turn_and_told_apart() -> None:
    math = replace(CELL, sdpa="math")
    assert math.group == CELL.group
    assert math.key != CELL.key
    assert (CELL.label, math.label) == ("mhsa", "mhsa, sdpa math")
    assert Request.of(mechanisms="mhsa", sdpa="auto,math").written("sdpa") == ("auto", "math")
    with pytest.raises(ValueError, match="did you mean flash"):
        AXES["sdpa"].read("flesh")


def test_a_benchmark_in_a_test_uses_the_kernel_that_is_asked_for(mechanism_benchmark: MechanismBenchmark) -> None:
    mechanism_benchmark("mhsa", "4x4", dim=16, heads=2, sdpa="math")
    kept = mechanism_benchmark._benchmark.extra_info["attnbench"]
    assert (kept["cell"]["sdpa"], kept["metrics"]["sdpa_kernels"]) == ("math", "math")
