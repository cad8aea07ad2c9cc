"""What rows differ in, as choices of a page."""

from __future__ import annotations

from typing import Any

import pandas as pd
from records_for_reports import row

from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.html.facets import facets
from attnbench.report.html.shipped import shipped


def of(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return facets(shipped(Findings(rows=prepared(pd.DataFrame(rows)))))


def test_each_axis_is_a_choice_hardware_first_and_what_follows_from_it_is_none() -> None:
    found = of(
        row("mhsa", dtype="float32", hardware="H100", device="cuda:0", threads=1),
        row("mhsa", dtype="bfloat16", hardware="H100", device="cuda:0", threads=1),
        row("mhsa", dtype="float32", hardware="Xeon", device="cpu", threads=8),
        row("mhsa", dtype="float32", hardware="EPYC", device="cpu", threads=4),
    )
    assert [(axis["name"], axis["values"]) for axis in found] == [
        ("hardware", ["H100", "Xeon", "EPYC"]),
        ("type", ["float32", "bfloat16"]),
    ]
    assert [axis["which"] for axis in found] == [[0, 0, 1, 2], [0, 1, 0, 0]]


def test_runtimes_that_are_timed_in_turn_are_a_choice_of_names() -> None:
    (found,) = of(row("qna", runtime="torch"), row("qna", runtime="openvino", label="qna, openvino"))
    assert found == {"name": "runtime", "of": "label", "values": ["torch", "openvino"], "which": [0, 1]}


def test_rows_that_differ_in_nothing_offer_nothing() -> None:
    assert of(row("qna"), row("mhsa")) == []
