"""Made-up claims and records for the tests of claims; the figures mean nothing."""

from decimal import Decimal

from attnbench.claims.answer import Answer
from attnbench.claims.claim import Check, Claim
from attnbench.probes.interval import Estimate
from attnbench.record import Cell, Record, Scope, Status


def cell(mechanism: str = "a", **fields: object) -> Cell:
    fields = {"scope": Scope.LAYER, "height": 224, "width": 224, "stage": 3, "dim": 8, "heads": 2, "depth": 1} | fields
    return Cell(mechanism=mechanism, **fields)  # type: ignore[arg-type]


def record(of: Cell, **metrics: float) -> Record:
    return Record(cell=of, status=Status.OK, metrics=metrics)


def recorded(*records: Record) -> dict[str, Record]:
    return {one.cell.key: one for one in records}


MACS = Check(mechanism="a", metric="macs", scope="layer")


def claim(value: object = Decimal("2.0"), **fields: object) -> Claim:
    fields = {"unit": "G", "check": MACS} | fields
    return Claim(
        id="a.macs", says="it costs", quantity="macs", value=value, source="table 1", certainty="verbatim", **fields
    )  # type: ignore[arg-type]


def exactly(value: float, low: float | None = None, high: float | None = None) -> Answer:
    estimate = Estimate(value=value, low=value if low is None else low, high=value if high is None else high)
    return Answer(estimate=estimate, figures=())
