"""How often the phases of a cell build its module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attnbench.mechanism import Mechanism, Site
from attnbench.models import networks, subject
from attnbench.record import Cell, Mode, Scope, Task, Value
from attnbench.runs.job import Assignment, Settings
from attnbench.worker import phases

DEPTH = 3
LAYER = Cell(mechanism="counted", scope=Scope.LAYER, height=64, width=64, stage=3, dim=8, heads=2, depth=DEPTH)
NETWORK = Cell(mechanism="", network="counted", scope=Scope.NETWORK, height=8, width=8)
built: list[torch.device] = []


class Layer(Mechanism):
    """Notes where it is built."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.proj = nn.Linear(site.dim, site.dim)
        built.append(self.proj.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map."""
        return self.proj(x)


class Network(nn.Module):
    """Notes where it is built."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        built.append(self.conv.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map."""
        return self.conv(x)


@pytest.fixture(params=["mechanism", "network"])
def cell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cell:
    built.clear()
    monkeypatch.setattr(networks, "create", lambda *_, **__: Network())
    asked: dict[str, Callable[[Cell], subject.Subject]] = {
        "mechanism": lambda cell: subject.MechanismSubject(cell=cell, mechanism=Layer),
        "network": lambda cell: subject.NetworkSubject(cell=cell),
    }
    monkeypatch.setattr(subject, "of", asked[request.param])
    return LAYER if request.param == "mechanism" else NETWORK


def learned(cell: Cell) -> dict[str, Value]:
    found: dict[str, Value] = {}
    course, keep = Assignment(cell=cell), lambda _, metrics: found.update(metrics)
    if cell.task is Task.COUNTS:
        phases.count_only(course, lambda _: None, keep)
    else:
        phases.prepare(0, course, Settings(), lambda _: None, keep, held_bytes=0)
    return found


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_cell_to_be_counted_is_built_once_without_data(cell: Cell, mode: Mode, batch: int) -> None:
    found = learned(replace(cell, task=Task.COUNTS, mode=mode, batch=batch))
    assert [each.type for each in built] == ["meta"] * len(built)
    assert len(built) == (DEPTH if cell is LAYER else 1)
    assert found["macs"] == found["macs_fvcore"]
    assert found["macs"]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("task", [Task.COST, Task.MEMORY])
def test_a_cell_to_be_run_is_built_once_without_data_and_once_with(cell: Cell, task: Task, mode: Mode) -> None:
    found = learned(replace(cell, task=task, mode=mode))
    layers = DEPTH if cell is LAYER else 1
    assert [each.type for each in built] == ["meta"] * layers + ["cpu"] * layers
    assert found["memory_estimate_bytes"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bytes_are_those_of_the_cells_own_type_and_batch(cell: Cell, dtype: str) -> None:
    one, two = (learned(replace(cell, task=Task.COUNTS, dtype=dtype, batch=batch)) for batch in (1, 2))
    size, params = subject.DTYPES[dtype].itemsize, one["params"]
    maps = 2 * 16 * 8 // DEPTH if cell is LAYER else (3 + 4) * 64
    assert one["bytes_lower_bound"] == pytest.approx(size * (params + maps), abs=size)
    assert two["bytes_lower_bound"] == pytest.approx(size * (params + 2 * maps), abs=size)
