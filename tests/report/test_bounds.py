"""Reports bound rows by the highest limits that are known of a machine, as the roofline is drawn."""

from dataclasses import replace

import pytest

from attnbench.record import Cell, Mode, Record, Status
from attnbench.report.bounds import at_roofs
from attnbench.report.findings import Findings
from attnbench.roofline import MachineLimits, bound_of_counts, macs_per_call

BUSY = MachineLimits(device="cpu", threads=1, macs_per_s={"float32": 10e9, "bfloat16": 20e9}, bytes_per_s=10e9)
QUIET = replace(BUSY, macs_per_s={"float32": 50e9, "bfloat16": 100e9}, bytes_per_s=20e9)


def row(*, macs: int = 10**9, median_s: float = 0.08, **fields: object) -> Record:
    cell = Cell(mechanism="mhsa", height=224, width=224, **{"batch": 2, **fields})
    calls = macs_per_call(macs, batch=cell.batch, mode=cell.mode)
    found = bound_of_counts(calls, 10**8, dtype=cell.products, limits=BUSY).metrics(median_s)
    metrics = {"macs": macs, "bytes_lower_bound": 10**8, "latency_median_s": median_s, **found}
    return Record(cell=cell, status=Status.OK, metrics=metrics, environment={"environment_id": "here"})


@pytest.mark.parametrize(
    ("fields", "bound_s"),
    [({}, 0.04), ({"mode": Mode.TRAIN}, 0.12), ({"dtype": "bfloat16"}, 0.02), ({"autocast": "bfloat16"}, 0.02)],
)
def test_hand_numbers_of_a_machine_that_was_busy_before(fields: dict[str, object], bound_s: float) -> None:
    kept = row(**fields)
    (found,) = at_roofs([kept], {"here": QUIET})
    assert found.metrics["latency_bound_s"] == pytest.approx(bound_s)
    assert found.metrics["roofline_fraction"] == pytest.approx(bound_s / 0.08)
    assert kept.metrics["latency_bound_s"] == pytest.approx(5 * bound_s), "what is kept stays"


def test_the_limit_that_binds_may_be_another() -> None:
    (found,) = at_roofs([row(macs=10**8)], {"here": replace(QUIET, bytes_per_s=10e9)})
    assert found.metrics["bound_by"] == "bandwidth"


@pytest.mark.parametrize(
    "limits", [{}, {"elsewhere": QUIET}, {"here": replace(QUIET, macs_per_s={"float16": 1e9})}], ids=len
)
def test_a_row_whose_machine_is_not_known_stays_as_it_is(limits: dict[str, MachineLimits]) -> None:
    assert at_roofs([row()], limits) == [row()]


@pytest.mark.parametrize("metric", ["macs", "bytes_lower_bound", "latency_median_s", "latency_bound_s"])
def test_a_row_that_lacks_something_stays_as_it_is(metric: str) -> None:
    lacking = row()
    lacking = replace(lacking, metrics={name: value for name, value in lacking.metrics.items() if name != metric})
    assert at_roofs([lacking], {"here": QUIET}) == [lacking]


def test_tables_have_it() -> None:
    (found,) = Findings.of([row()], limits={"here": QUIET}).rows.itertuples()
    assert found.roofline_fraction == pytest.approx(0.5)
