"""Two processes that verify the cells of a job: which cells the second is given, and what comes of one that fails."""

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import copies_survive

from attnbench.devices import machine
from attnbench.record import Cell
from attnbench.runs.job import Assignment
from attnbench.worker import halves
from attnbench.worker.verification import Verification

TIMED = Assignment(
    cell=Cell(mechanism="mhsa", height=64, width=64),
    known={"params": 1000, "memory_peak_bytes": 4000},
    timed={"latency_median_s": 0.1},
)


def places(*assignments: Assignment) -> list[int]:
    return list(halves.of_the_copy(assignments, exacting=frozenset()))


@pytest.fixture
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "whole_cores", lambda: 2)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=8))
def test_no_other_cut_ends_sooner(costs: Sequence[float]) -> None:
    def ends(own: int) -> float:
        return max(sum(costs[:own]), sum(costs[own:]))

    assert ends(halves.first_half(costs)) <= min(ends(own) for own in range(1, len(costs) + 1)) + 1e-9


@pytest.mark.usefixtures("_two_cores")
def test_the_copy_is_given_the_last_cells() -> None:
    assert places(TIMED, TIMED, TIMED) == [2]
    assert places(replace(TIMED, timed={"latency_median_s": 9.0}), TIMED, TIMED) == [1, 2]
    assert places(TIMED) == []


@pytest.mark.usefixtures("_two_cores")
@pytest.mark.parametrize(
    "other",
    [
        replace(TIMED, cell=replace(TIMED.cell, distribution="theirs 1.0")),
        replace(TIMED, known={"params": 1000}),
        replace(TIMED, known={"params": 10**12, "memory_peak_bytes": 0}),
    ],
    ids=["a plugin", "of unknown memory", "too large"],
)
def test_none_is_made_beside(other: Assignment) -> None:
    assert places(TIMED, TIMED, other) == []


def test_none_is_made_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "whole_cores", lambda: 1)
    assert places(TIMED, TIMED) == []


@copies_survive
def test_the_copy_verifies_what_is_its_own_and_no_more() -> None:
    with halves.verified(range(1, 3), lambda place: Verification(said=f"{place} in {os.getpid()}")) as ask:
        assert ask(0) is None
        found = [ask(place) for place in (1, 2)]
    said = [each.said.split(" in ") for each in found if each is not None]
    assert [place for place, _ in said] == ["1", "2"]
    assert {process for _, process in said}.isdisjoint({str(os.getpid())})


def test_what_ends_the_copy_or_is_raised_there_is_left_to_who_asks() -> None:
    here = os.getpid()

    def ends(place: int) -> Verification:
        if os.getpid() != here:
            os._exit(3) if place else int("none")
        return Verification(said="here")

    with halves.verified(range(2), ends) as ask:
        assert [ask(0), ask(1)] == [None, None]
