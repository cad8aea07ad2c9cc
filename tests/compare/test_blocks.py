"""The statistics of a comparison, against simulated machines whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from attnbench.compare.blocks import (
    POWER,
    Sufficiency,
    TimedBlock,
    detectable,
    latencies_s,
    ratio_of_blocks,
)
from attnbench.compare.together import FEWEST
from attnbench.compare.verdict import Outcome, judge

Scatter = Callable[[np.random.Generator], float]
"""By how much the logarithm of a block's ratio is off."""
NORMAL: Scatter = lambda rng: rng.normal(0, 0.01)  # noqa: E731
HEAVY: Scatter = lambda rng: 0.01 * rng.standard_t(3)  # noqa: E731
BUSY: Scatter = lambda rng: rng.normal(0, 0.06 if rng.random() < 0.3 else 0.01)  # noqa: E731


def block(ratio: float, *, pace: float = 1.0, rounds: int = 3) -> TimedBlock:
    base = [round(1e9 * pace)] * rounds
    return TimedBlock(base_ns=base, head_ns=[round(ns * ratio) for ns in base])


def simulated(truth: float, scatter: Scatter, rng: np.random.Generator, *, most: int = 40) -> list[TimedBlock]:
    """Return blocks as a comparison takes them: until they are enough, ``most`` of them at the latest."""
    enough = Sufficiency(precision=0.01, budget_s=float(most), fewest=FEWEST, first_look=12)
    blocks: list[TimedBlock] = []
    while not blocks or not enough.reached(blocks, spent_s=len(blocks)):
        blocks.append(block(truth * np.exp(scatter(rng))))
    return blocks


def test_the_interval_is_students_over_the_blocks() -> None:
    logs = np.log([1.01, 0.98, 1.04, 1.0, 0.99])
    found = ratio_of_blocks([block(ratio) for ratio in np.exp(logs)])
    low, high = stats.t.interval(0.95, 4, loc=logs.mean(), scale=stats.sem(logs))
    assert (found.low, found.value, found.high) == pytest.approx(np.exp([low, logs.mean(), high]), rel=1e-6)


def test_rounds_of_a_block_count_as_one_observation() -> None:
    few, many = ([block(ratio, rounds=rounds) for ratio in (0.98, 1.0, 1.02)] for rounds in (3, 300))
    assert ratio_of_blocks(few) == ratio_of_blocks(many)


def test_what_slows_both_of_a_round_is_not_in_the_ratio() -> None:
    pace = np.array([1, 7, 2, 30, 3])
    found = TimedBlock(base_ns=(1000 * pace).tolist(), head_ns=(1100 * pace).tolist())
    assert np.exp(found.log_ratio) == pytest.approx(1.1)


def test_blocks_that_are_all_alike_have_an_interval_without_width() -> None:
    alike = [block(1.2)] * 6
    found = ratio_of_blocks(alike)
    assert (found.low, found.high) == pytest.approx((1.2, 1.2))
    assert judge(found, threshold=0.05) is Outcome.SLOWER
    assert detectable(alike, threshold=0.05) == pytest.approx(0.05)


@pytest.mark.parametrize("truth", [1.0, 1.1])
@pytest.mark.parametrize(
    ("scatter", "least"), [(NORMAL, 0.93), (HEAVY, 0.93), (BUSY, 0.93)], ids=["normal", "t3", "busy"]
)
def test_intervals_of_blocks_taken_until_they_are_enough_hold_the_truth(
    truth: float, scatter: Scatter, least: float
) -> None:
    rng = np.random.default_rng(7)
    found = [ratio_of_blocks(simulated(truth, scatter, rng)) for _ in range(600)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert least <= covered <= 0.98


@pytest.mark.parametrize("scatter", [NORMAL, HEAVY, BUSY], ids=["normal", "t3", "busy"])
def test_unchanged_code_is_called_slower_or_faster_in_less_than_one_of_a_hundred(scatter: Scatter) -> None:
    rng = np.random.default_rng(3)
    said = [judge(ratio_of_blocks(simulated(1.0, scatter, rng, most=20)), threshold=0.05) for _ in range(400)]
    assert sum(one in {Outcome.SLOWER, Outcome.FASTER} for one in said) < 4


def test_ten_per_cent_are_found_nine_times_in_ten_where_blocks_scatter_by_four() -> None:
    rng = np.random.default_rng(5)
    scatter: Scatter = lambda rng: rng.normal(0, 0.04)  # noqa: E731
    said = [judge(ratio_of_blocks(simulated(1.1, scatter, rng)), threshold=0.05) for _ in range(200)]
    assert np.mean([one is Outcome.SLOWER for one in said]) >= 0.9


@pytest.mark.parametrize("count", [6, 12, 25])
def test_a_slowdown_of_the_size_that_is_said_to_be_found_is_found_nine_times_in_ten(count: int) -> None:
    rng, scatter = np.random.default_rng(11), 0.03

    def blocks(ratio: float) -> list[TimedBlock]:
        return [block(ratio * np.exp(each)) for each in rng.normal(0, scatter, count)]

    shown = stats.zscore(np.arange(count), ddof=1) * scatter  # which scatter as all such blocks do
    size = detectable([block(np.exp(each)) for each in shown], threshold=0.05)
    said = [judge(ratio_of_blocks(blocks(1 + size)), threshold=0.05) for _ in range(500)]
    assert np.mean([one is Outcome.SLOWER for one in said]) == pytest.approx(POWER, abs=0.04)


def test_the_latencies_that_are_shown_have_the_ratio_as_their_quotient_though_the_pace_changes() -> None:
    blocks = [block(1.1, pace=1.0), block(1.0, pace=5.0), block(1.2, pace=2.0)]
    base_s, head_s = latencies_s(blocks)
    assert head_s / base_s == pytest.approx(ratio_of_blocks(blocks).value)
    assert 1.0 < base_s < head_s < 5.0


def enough(**changed: float) -> Sufficiency:
    return Sufficiency(**{"precision": 0.01, "budget_s": 100.0, "fewest": 6, "first_look": 12} | changed)  # type: ignore[arg-type]


def test_the_fewest_blocks_are_taken_whatever_they_cost() -> None:
    assert not enough().reached([block(1.0)] * 5, spent_s=1e6)
    assert enough().reached([block(1.0)] * 6, spent_s=1e6)


def test_precision_is_not_believed_before_the_first_look() -> None:
    assert not enough().reached([block(1.0)] * 11, spent_s=1)
    assert enough().reached([block(1.0)] * 12, spent_s=1)


def test_it_goes_on_until_the_interval_is_narrow_or_one_more_block_would_be_late() -> None:
    wide = [block(ratio) for ratio in (0.9, 1.1)] * 10
    assert not enough().reached(wide, spent_s=95)
    assert enough().reached(wide, spent_s=96)


def test_when_to_stop_does_not_depend_on_the_ratio() -> None:
    rng = np.random.default_rng(2)
    ratios = np.exp(rng.normal(0, 0.02, 60))

    def stops_at(factor: float) -> int:
        judged, blocks = enough(), [block(factor * each) for each in ratios]
        return next(n for n in range(1, 61) if judged.reached(blocks[:n], spent_s=n))

    assert stops_at(1.0) == stops_at(1.05) == stops_at(2.0) > 12
