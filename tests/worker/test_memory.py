"""Memory of a cell's calls: that of the work, whatever the layer remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from witnessed import ADVERSARIES, cell_of, ready

from attnbench.devices import machine
from attnbench.models import calls, subject
from attnbench.probes import memory
from attnbench.record import Cell, Mode, Status
from attnbench.runs.job import Settings
from attnbench.worker.events import failed
from attnbench.worker.memory import Headroom, measure_memory, memory_outside, refuse_what_will_not_fit
from attnbench.worker.ready import Metrics, Unmeasurable
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


@pytest.mark.parametrize(("limit_bytes", "own"), [(2**10, True), (2**30, False)])
def test_what_no_limit_would_let_be_alone_is_its_own_affair(limit_bytes: int, *, own: bool) -> None:
    asked, settings = subject.of(cell_of("mhsa")), Settings(memory_limit_bytes=limit_bytes)
    with pytest.raises(Unmeasurable, match="not started") as e:
        refuse_what_will_not_fit(asked, settings, lambda *_: None, 2**30)
    assert e.value.own is own
    assert failed(0, e.value)["own"] is own


class TestHeadroom:
    """Free main memory is told, GiB by GiB; cells of torch are estimated and need no such guess."""

    EXPORTED = replace(cell_of("mhsa"), runtime="onnxruntime")

    @pytest.fixture
    def free_gib(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        told: list[float] = []
        monkeypatch.setattr(machine, "available_memory_bytes", lambda: int(told.pop(0) * 2**30))
        return told

    def took(self, free_gib: list[float], before: float, after: float, cell: Cell) -> Headroom:
        headroom = Headroom()
        free_gib += [before, after]
        with headroom.noted(cell):
            pass
        return headroom

    def test_a_cell_waits_where_less_than_twice_the_greediest_is_free(self, free_gib: list[float]) -> None:
        headroom = self.took(free_gib, 20, 17, self.EXPORTED)
        free_gib += [6, 5.9]
        headroom.require(self.EXPORTED)
        with pytest.raises(
            Unmeasurable, match=r"5\.9 GiB of main memory are free, and another cell took 3\.0 GiB; not started"
        ) as e:
            headroom.require(self.EXPORTED)
        assert e.value.status is Status.OUT_OF_MEMORY

    def test_a_gib_is_left_whatever_cells_take(self, free_gib: list[float]) -> None:
        headroom = self.took(free_gib, 2, 1.99, self.EXPORTED)
        free_gib += [0.99]
        with pytest.raises(Unmeasurable):
            headroom.require(self.EXPORTED)

    def test_the_first_is_tried_and_what_torch_takes_says_nothing(self, free_gib: list[float]) -> None:
        headroom = self.took(free_gib, 20, 2, cell_of("mhsa"))
        free_gib += [0.1, 0.1]
        headroom.require(self.EXPORTED)
        headroom.require(cell_of("mhsa"))
