"""Who is measured without others of the group, and how often."""

from __future__ import annotations

import pytest

from attnbench.record import Cell, Status
from attnbench.runs.company import APART, Company
from attnbench.runs.job import Assignment


def assignment(name: str, distribution: str = "theirs 1.0", *, companion: bool = False) -> Assignment:
    cell = Cell(mechanism=name, height=64, width=64, distribution=distribution)
    return Assignment(cell=cell, companion=companion, known={"macs": 7}, phases_done=("counting",))


def company(*names: str) -> Company:
    found = Company()
    for name in names:
        found.begin(assignment(name))
    return found


def test_a_cell_that_fails_beside_a_plugin_is_tried_once_more_from_the_start_without_it() -> None:
    found = company("first", "second")
    assert found.excuses(assignment("second"), Status.FAILED, "no file")
    (waits,) = found.waiting
    assert waits.apart == "failed beside first [theirs 1.0]: no file"
    assert waits.known == {APART: waits.apart}
    assert waits.phases_done == ()
    assert not found.excuses(waits, Status.FAILED, "no file"), "once"


def test_a_built_in_that_fails_beside_a_plugin_is_excused_too() -> None:
    found = company("first")
    assert found.excuses(assignment("mhsa", "attnbench 0.1.0"), Status.TIMEOUT, "late")


@pytest.mark.parametrize("status", [Status.OK, Status.UNSUPPORTED, Status.REJECTED, Status.OUT_OF_MEMORY])
def test_what_others_cannot_have_brought_about_stands(status: Status) -> None:
    assert not company("first").excuses(assignment("second"), status, "")


def test_without_company_a_failure_is_ones_own() -> None:
    assert not Company().excuses(assignment("first"), Status.CRASHED, "")
    assert not company("first").excuses(assignment("first"), Status.CRASHED, "")
    beside_ours = Company()
    beside_ours.begin(assignment("mhsa", "attnbench 0.1.0"))
    assert not beside_ours.excuses(assignment("first"), Status.CRASHED, "")


def test_a_companion_has_its_row_already() -> None:
    found = company("first")
    assert not found.excuses(assignment("second", companion=True), Status.CRASHED, "")
    found.leave(assignment("second", companion=True), "leaves 100 files open")
    assert found.waiting == []


def test_what_is_set_apart_keeps_what_is_known_of_it() -> None:
    found = company("first")
    found.leave(assignment("first"), "leaves 100 files open")
    (waits,) = found.waiting
    assert waits.known == {"macs": 7, APART: "leaves 100 files open"}
    assert waits.phases_done == ("counting",)


def test_many_neighbours_are_named_up_to_three() -> None:
    found = company(*"abcdef")
    found.excuses(assignment("z"), Status.FAILED, "x")
    assert found.waiting[0].apart.endswith("c [theirs 1.0] and 3 others: x")
