"""A machine that stands out among others of its kind is named, by limits that were made up."""

from __future__ import annotations

import pytest

from attnbench.record import Cell, Record, Status
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import markdown
from attnbench.report.peers import ProvenMachine, remarks
from attnbench.roofline import MachineLimits


def machine(name: str, products: float, *, memory: float = 1e10, run: str = "", **how: object) -> ProvenMachine:
    limits = MachineLimits(device="cpu", threads=1, macs_per_s={"float32": products}, bytes_per_s=memory)
    return ProvenMachine(name=name, run_ids=frozenset({run or name}), limits=limits, **{"hardware": "EPYC", **how})


def test_a_slow_machine_among_others_of_its_kind_is_named_and_no_other() -> None:
    found = remarks([machine("n1", 100), machine("n2", 70), machine("n3", 104), machine("x", 30, hardware="Xeon")])
    assert found == {"n2": "n2 reaches 70% of the float32 products that is usual of 3 machines of its kind"}


def test_of_two_that_are_apart_nobody_can_say_which() -> None:
    said = "n2 reaches 50% of the memory bandwidth of n1, the only other of its kind"
    assert remarks([machine("n1", 1, memory=8), machine("n2", 1, memory=4)]) == {"n1": said, "n2": said}
    assert remarks([machine("n1", 100), machine("n2", 81)]) == {}
    assert remarks([machine("n1", 100)]) == {}


@pytest.mark.parametrize("low", [99, 81])
def test_what_clocks_do_by_themselves_is_no_outlier(low: float) -> None:
    assert remarks([machine("n1", 100), machine("n2", low), machine("n3", 101)]) == {}


def test_a_machine_is_as_fast_as_the_best_of_its_runs() -> None:
    twice = [machine("n1", 50, run="a"), machine("n1", 100, run="b")]
    assert remarks([*twice, machine("n2", 100), machine("n3", 100)]) == {}


def test_a_machine_that_finds_known_ratios_wrong_is_named_whoever_is_beside_it() -> None:
    wrong = machine("n1", 100, ratios={1: (1.0, 1.01, 1.5), 2: (1.7, 1.8, 2.0)})
    assert remarks([wrong]) == {"n1": "n1 found 1.80 for a known ratio of 2"}


def test_rows_of_a_machine_that_stands_out_are_marked_and_it_is_named_in_the_report() -> None:
    def timed(run_id: str) -> Record:
        cell = Cell(mechanism=run_id, height=64, width=64)
        metrics = {"latency_median_s": 0.1, "latency_ci_low_s": 0.09, "latency_ci_high_s": 0.11}
        return Record(cell=cell, status=Status.OK, run_id=run_id, metrics=metrics)

    found = Findings.of([timed("n1"), timed("n2")], machines={"n2": "n2 reaches 70% of the float32 products"})
    page = markdown(document(found, command="attnbench run"), None)
    assert "Machines that stand out: n2 reaches 70% of the float32 products" in page
    (sheet,) = found.book.sheets
    marked = {line.name: [found.book.notes[mark - 1] for mark in line.notes] for line in sheet.lines}
    said = "its machine stands out: n2 reaches 70% of the float32 products"
    assert (said in marked["n1"], said in marked["n2"]) == (False, True)
