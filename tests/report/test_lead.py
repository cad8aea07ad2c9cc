"""Who leads, by how much, and how sure that is."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from records_for_reports import row

from attnbench.report.comparison import prepared
from attnbench.report.lead import Lead, lead

LATENCY = "latency_median_s"


def timed(name: str, value: float, width: float = 0.01, **columns: Any) -> dict[str, Any]:
    ends = {"latency_ci_low_s": value * (1 - width), "latency_ci_high_s": value * (1 + width)}
    ratio = dict.fromkeys(("latency_ratio", "latency_ratio_ci_low", "latency_ratio_ci_high", "baseline"))
    return row(name, **({LATENCY: value} | ends | ratio | columns))


def found(*rows: dict[str, Any], metric: str = LATENCY) -> Lead | None:
    return lead(list(prepared(pd.DataFrame(rows)).itertuples()), metric)


def test_the_lowest_leads_and_the_factor_holds_both_intervals() -> None:
    one = found(timed("a", 0.02), timed("b", 0.01), timed("c", 0.05))
    assert one is not None
    assert (one.names, one.following) == (("b",), "a")
    assert one.factor == "2.00 [1.96, 2.04]"


def test_whose_interval_reaches_the_best_is_level_and_not_following() -> None:
    one = found(timed("a", 0.0101), timed("b", 0.01), timed("c", 0.05))
    assert one is not None
    assert (one.names, one.following) == (("b", "a"), "c")


def test_ratios_taken_in_the_same_rounds_decide_what_latencies_leave_open() -> None:
    def beside(name: str, ratio: float, width: float) -> dict[str, Any]:
        ends = {"latency_ratio_ci_low": ratio - width, "latency_ratio_ci_high": ratio + width}
        return timed(name, 0.01 * ratio, 0.3, baseline="a", latency_ratio=ratio, **ends)

    one = found(beside("a", 1.0, 0), beside("b", 1.1, 0.01))
    assert one is not None
    assert (one.names, one.following, one.factor) == (("a",), "b", "1.10 [1.09, 1.11]")


def test_ratios_to_different_baselines_are_not_set_against_each_other() -> None:
    rows = [timed(name, 0.01, baseline=name, latency_ratio=1.0, run_id=name) for name in "ab"]
    assert found(*rows) is None


@pytest.mark.parametrize("spoilt", [{"status": "failed"}, {"suspicious": "faster than its limit"}, {LATENCY: None}])
def test_who_failed_or_is_doubted_leads_nowhere(spoilt: dict[str, Any]) -> None:
    one = found(timed("a", 0.001, **spoilt), timed("b", 0.01), timed("c", 0.02))
    assert one is not None
    assert one.names == ("b",)
    assert found(timed("a", 0.001, **spoilt)) is None


def test_equal_counts_are_level_and_latencies_of_two_runs_are_not_ranked() -> None:
    one = found(row("a", macs=5), row("b", macs=5), row("c", macs=6), metric="macs")
    assert one is not None
    assert (one.names, one.following, one.factor) == (("a", "b"), "c", "1.20")
    assert found(timed("a", 0.01, run_id="one"), timed("b", 0.02, run_id="two")) is None


def test_the_highest_accuracy_leads_and_is_said_without_a_factor() -> None:
    def learned(name: str, value: float, kind: str = "measured") -> dict[str, Any]:
        ends = {"accuracy_ci_low": value - 0.01, "accuracy_ci_high": value + 0.01}
        return row(name, accuracy_top1=value, accuracy_kind=kind, dataset="digits", **ends)

    one = found(learned("a", 0.7), learned("b", 0.9), metric="accuracy_top1")
    assert one is not None
    assert (one.best, one.following, one.factor) == ("b", "a", "")
    assert found(learned("a", 0.7), learned("b", 0.9, "published"), metric="accuracy_top1") is None
