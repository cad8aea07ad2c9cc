"""How far mechanisms are apart, for many pairs at once, as it is for one pair worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from records_for_reports import row

from attnbench.report.comparison import prepared
from attnbench.report.gaps import Gaps, readings


def gaps(*rows: dict[str, object], metric: str = "latency_median_s") -> dict[tuple[str, str], Gaps]:
    frame = prepared(pd.DataFrame(rows))
    labels = list(dict.fromkeys(frame["label"]))
    pairs = [(one, other) for one in labels for other in labels if one != other]
    return dict(readings(frame, metric).gaps(np.arange(len(frame)), pairs))


def timed(name: str, side: int, value: float, **columns: object) -> dict[str, object]:
    ends = {"latency_ci_low_s": 0.9 * value, "latency_ci_high_s": 1.2 * value}
    return row(name, side, latency_median_s=value, **ends, latency_ratio=None, **columns)


def test_a_gap_is_the_logarithm_of_the_ratio_and_its_ends_those_of_the_intervals_taken_against_each_other() -> None:
    found = gaps(timed("a", 224, 2.0), timed("b", 224, 1.0), timed("a", 448, 8.0), timed("b", 448, 1.0))
    gap, _ = found["a", "b"].each()
    assert (gap.side, gap.value) == (224, pytest.approx(math.log(2)))
    assert (gap.low, gap.high) == (pytest.approx(math.log(1.8 / 1.2)), pytest.approx(math.log(2.4 / 0.9)))
    assert found["a", "b"].signs == (1, 1)
    assert found["b", "a"].signs == (-1, -1)


def test_of_several_values_at_a_resolution_the_first_stands() -> None:
    found = gaps(timed("a", 224, 2.0), timed("a", 224, 9.0), timed("b", 224, 1.0), *(timed(n, 448, 1.0) for n in "ab"))
    assert found["a", "b"].each()[0].value == pytest.approx(math.log(2))


def test_a_resolution_that_one_of_two_lacks_is_left_out_and_a_single_one_is_no_curve() -> None:
    three = [timed("a", side, 1.0) for side in (112, 224, 448)]
    assert gaps(*three, timed("b", 112, 1.0), timed("b", 448, 1.0))["a", "b"].sides == (112, 448)
    assert gaps(*three, timed("b", 112, 1.0)) == {}


@pytest.mark.parametrize("columns", [{"suspicious": "its threads go on"}, {"latency_median_s": None}])
def test_what_is_doubted_or_missing_is_not_read(columns: dict[str, object]) -> None:
    doubted = timed("b", 224, 1.0) | columns
    assert gaps(timed("a", 224, 2.0), doubted, timed("a", 448, 2.0), timed("b", 448, 1.0)) == {}


def test_ratios_to_different_baselines_are_not_compared_and_the_latencies_are() -> None:
    ratio = {"latency_ratio": 1.0, "latency_ratio_ci_low": 0.99, "latency_ratio_ci_high": 1.01}
    rows = [
        timed(name, side, value) | ratio | {"baseline": baseline}
        for side in (224, 448)
        for name, value, baseline in (("a", 2.0, "a"), ("b", 1.0, "b"))
    ]
    assert gaps(*rows)["a", "b"].each()[0].value == pytest.approx(math.log(2))
