"""Cells that a copy of the worker's process counts and estimates: the same figures, or none and no harm."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace

import pytest
from processes import copies_survive
from witnessed import cell_of

from attnbench.models import subject
from attnbench.probes import memory_estimate
from attnbench.record import Cell
from attnbench.runs.job import Assignment
from attnbench.worker import ahead
from attnbench.worker.counts import count

FIRST, SECOND, THIRD = (cell_of(name) for name in ("mhsa", "hmhsa", "qna"))


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "whole_cores", lambda: 2)


def job(*cells: Cell) -> dict[int, Assignment]:
    return {place: Assignment(cell=cell) for place, cell in enumerate(cells)}


@copies_survive
def test_what_a_copy_finds_is_what_the_worker_would() -> None:
    with ahead.foreseen(job(FIRST, SECOND, THIRD)) as ask:
        found = [ask(place) for place in range(3)]
    assert found[0] is None  # the worker is at it at once
    for cell, foreseen in zip((SECOND, THIRD), found[1:], strict=True):
        asked = subject.of(cell)
        assert foreseen == ahead.Foreseen(
            counts=count(asked),
            estimate=memory_estimate.estimate(asked.on_meta, mode=cell.mode, device=cell.device),
        )
    assert not multiprocessing.active_children()


@copies_survive
def test_what_raises_is_left_to_the_worker_and_the_next_is_found() -> None:
    with ahead.foreseen(job(FIRST, replace(SECOND, mechanism="nobody"), THIRD)) as ask:
        assert ask(1) is None
        assert ask(2) is not None


def test_a_copy_that_dies_costs_nothing_but_its_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_foresee", lambda _: os._exit(1))
    with ahead.foreseen(job(FIRST, SECOND)) as ask:
        assert ask(1) is None


@pytest.mark.parametrize(
    "cells",
    [
        (FIRST,),
        (FIRST, replace(SECOND, distribution="somebodys")),
        (replace(FIRST, distribution="somebodys"), SECOND),
    ],
)
def test_there_is_no_copy_of_a_process_with_a_plugin_or_with_one_cell(cells: tuple[Cell, ...]) -> None:
    with ahead.foreseen(job(*cells)) as ask:
        assert not multiprocessing.active_children()
        assert [ask(place) for place in range(len(cells))] == [None] * len(cells)


def test_there_is_no_copy_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "whole_cores", lambda: 1)
    with ahead.foreseen(job(FIRST, SECOND)):
        assert not multiprocessing.active_children()
