"""Memory of a cell's calls: that of the work, whatever the layer remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from witnessed import ADVERSARIES, cell_of, ready

from attnbench.models import calls, subject
from attnbench.probes import memory
from attnbench.record import Cell, Mode
from attnbench.worker.memory import measure_memory, memory_outside
from attnbench.worker.ready import Metrics
from attnbench.worker.surroundings import World


@pytest.fixture(autouse=True)
def _files_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ADVERSARIES)  # they are made of the honest one


def measured(cell: Cell) -> Metrics:
    """Return the memory of a layer that has seen its input before, as in the phase before."""
    one = ready(cell)
    one.call()
    return measure_memory(subject.of(cell), one.model, one.x)


@pytest.mark.parametrize("mode", Mode)
def test_a_layer_that_knows_its_input_again_takes_what_an_honest_one_takes(mode: Mode) -> None:
    honest, remembers = (cell_of(ADVERSARIES / layer) for layer in ("honest.py:Attention", "memory.py:SampledElements"))
    expected, found = (measured(replace(cell, mode=mode)) for cell in (honest, remembers))
    assert expected["memory_peak_bytes"] <= found["memory_peak_bytes"]
    assert expected.get("memory_saved_bytes") == found.get("memory_saved_bytes")


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("mechanism", ["mhsa", "swin", "qna"])
def test_new_values_change_nothing_of_an_honest_layers_memory(mechanism: str, mode: Mode) -> None:
    one = ready(cell_of(mechanism, mode=mode))
    one.call()
    forget = calls.forget(one.model, one.x)
    plain = memory.peak(one.call, device="cpu", forget=forget).peak_bytes
    assert measure_memory(subject.of(one.cell), one.model, one.x)["memory_peak_bytes"] == plain


def test_what_it_takes_elsewhere_is_found_though_it_knows_its_input_again() -> None:
    cell = cell_of(ADVERSARIES / "elsewhere.py:InNumpyOnce")
    one = ready(cell)
    one.call()
    found = memory_outside(cell, one.model, one.x, forward=one.model, peak_bytes=2**20, world=World())
    assert found["memory_outside_bytes"] > 2**24
