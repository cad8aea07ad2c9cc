"""Honest layers and networks are never called anything else: caches, folding, tuning, random numbers stay allowed.

The first part takes half a minute; all of it, every built-in, every network of ours and 72 of timm, in inference and
training, float32 and half types, takes an hour and more: ``tox -e alarms``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from honest_cases import FULL, LAYERS, QUICK, Honest

import attnbench
from attnbench.record import Record


def alarms(records: tuple[Record, ...]) -> list[str]:
    """Return what rows hold against honest layers: a status that accuses, a suspicion, doubt of the multiply-adds."""
    found = []
    for record in records:
        accused = record.status not in {"ok", "unsupported"} and f"{record.status}: {record.reason}"
        said = accused or record.metrics.get("suspicious") or record.metrics.get("macs_doubt")
        if said:
            cell = record.cell
            found.append(f"{cell.label or cell.network}, {cell.mode}, {cell.dtype}, {cell.cache}: {said}")
    return found


def measured(case: Honest, out: Path) -> tuple[Record, ...]:
    run = attnbench.run(out=out, progress=False, max_time=0.1, threads=1, baseline="none", **case.asked)
    assert run.records
    for record in run.records:
        if record.status == "ok":  # some calls of each have been compared, and not only left alone
            assert str(record.metrics["verified"])[0] in "12345", (record.cell.label, record.metrics["verified"])
    return run.records


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_nothing_speaks_against_what_is_honest(case: Honest, tmp_path):
    assert alarms(measured(case, tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)
def test_nothing_speaks_against_any_of_them(case: Honest, tmp_path):
    assert alarms(measured(case, tmp_path)) == []


def test_a_layer_with_random_numbers_of_its_own_is_called_that_and_no_cheat(tmp_path):
    asked = {"mechanisms": [f"{LAYERS}:OwnGenerator"], "scope": "layer", "res": [56], "depth": [1]}
    (record,) = attnbench.run(out=tmp_path, progress=False, max_time=0.1, threads=1, baseline="none", **asked).records
    assert record.status == "ok", record.reason
    assert "another answer each time for the same values and seeds" in str(record.metrics["suspicious"])
