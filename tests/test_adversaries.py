"""Layers that fool a benchmark, each beside an honest one and the baseline: it is caught, they are not touched."""

from __future__ import annotations

import os
import re

import pytest
from adversary import HONEST, LAYERS, Adversary
from adversary_cases import CASES

import attnbench

ASKED = {"scope": "layer", "res": [112], "max_time": 0.3, "threads": 1}


@pytest.mark.parametrize("adversary", CASES, ids=lambda each: each.layer)
def test_it_is_caught_and_its_neighbours_are_not_touched(adversary: Adversary, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(LAYERS), prepend=os.pathsep)  # they are made of the honest one
    named = ["mhsa", HONEST, adversary.path]
    run = attnbench.run(mechanisms=named, out=tmp_path, progress=False, **{**ASKED, **adversary.asked})
    rows = {record.cell.mechanism: record for record in run.records}
    caught = rows.pop(adversary.path)
    suspicion, doubt = caught.metrics.get("suspicious"), caught.metrics.get("macs_doubt")
    status = caught.status
    if status == "ok" and (suspicion or doubt):
        status = "suspicious" if suspicion else "macs not ranked"
    assert status == adversary.status, caught.reason
    noticed = caught.metrics.get("process_changes") or caught.metrics.get("verified")
    assert re.search(adversary.said, suspicion or caught.reason or doubt or str(noticed))
    for record in rows.values():
        assert (record.status, record.metrics.get("suspicious")) == ("ok", None), record.reason
        assert record.metrics["latency_median_s"] > 0
