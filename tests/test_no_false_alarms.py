"""Honest layers and networks are never called anything else: caches, folding, tuning, random numbers stay allowed.

The first part takes half a minute; all of it, every built-in, every network of ours and 72 of timm, in inference and
training, float32 and half types, takes an hour and more: ``tox -e alarms``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from honest_cases import FULL, LAYERS, OURS, QUICK, TIMM, Honest
from witnessed import verified

import attnbench
from attnbench.models import subject
from attnbench.record import Cell, Mode, Record, Scope
from attnbench.worker.counts import count


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OURS, *TIMM])
def test_nothing_that_a_network_returns_or_counts_speaks_against_it(name, tmp_path):
    """As above, without timing and memory: a hundred networks in minutes."""
    found = []
    for mode in ("infer", "train"):
        for dtype in ("float32", "bfloat16"):
            cell = Cell(
                mechanism="", network=name, scope=Scope.NETWORK, height=64, width=64, batch=2, mode=Mode(mode),
                dtype=dtype, options={"backend": "sdpa"},
            )  # fmt: skip
            if mode == "infer" and dtype == "float32":
                found += [count(subject.of(cell))["macs_doubt"]]
            said = verified(cell, tmp_path / "evidence", calls=3, taken_s=0)
            assert said.said[0] in "123", said
            found += [f"{mode}, {dtype}: {each.line}" for each in said.objections]
    assert [each for each in found if each] == []


def test_a_layer_with_random_numbers_of_its_own_is_called_that_and_no_cheat(tmp_path):
    asked = {"mechanisms": [f"{LAYERS}:OwnGenerator"], "scope": "layer", "res": [56], "depth": [1]}
    (record,) = attnbench.run(out=tmp_path, progress=False, max_time=0.1, threads=1, baseline="none", **asked).records
    assert record.status == "ok", record.reason
    assert "another answer each time for the same values and seeds" in str(record.metrics["suspicious"])
