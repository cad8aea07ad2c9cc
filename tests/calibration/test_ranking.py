"""Rank correlations of few networks, and what is said where there is none."""

import pytest
from scipy.stats import kendalltau, spearmanr

from attnbench.calibration.ranking import compare

TOP1 = [70.0, 72.0, 75.0, 78.0, 80.0, 82.0, 83.0, 84.0]
FAMILIES = ["a", "a", "b", "b", "c", "c", "c", "d"]


def test_the_published_order_is_a_perfect_ranking_and_its_reverse_is_the_opposite():
    same, reverse = (compare(scores, TOP1, FAMILIES) for scores in ([1.0 * t for t in TOP1], [-t for t in TOP1]))
    assert (same.spearman.value, same.kendall.value, same.in_order, same.pairs) == (1, 1, 5, 5)
    assert same.ranks
    assert (reverse.spearman.value, reverse.kendall.value, reverse.in_order) == (-1, -1, 0)
    assert not reverse.ranks


def test_correlations_are_those_of_their_definitions():
    scores = [2.0, 1.0, 3.0, 5.0, 4.0, 6.0, 8.0, 7.0]  # three neighbours changed places
    found = compare(scores, TOP1, FAMILIES)
    assert found.spearman.value == pytest.approx(1 - 6 * 6 / (8 * 63))
    assert found.kendall.value == pytest.approx((28 - 2 * 3) / 28)
    assert found.spearman.low <= found.spearman.value <= found.spearman.high
    assert found.in_order == 4  # of a, and not of the others: those neighbours are of two families


def test_scores_that_are_all_the_same_rank_nothing():
    found = compare([0.125] * 8, TOP1, FAMILIES)
    assert (found.spearman.value, found.spearman.low, found.spearman.high, found.in_order) == (0, 0, 0, 0)
    assert not found.ranks


def test_one_seed_gives_one_interval():
    scores = [3.0, 1.0, 2.0, 5.0, 8.0, 4.0, 7.0, 6.0]
    assert compare(scores, TOP1, FAMILIES) == compare(scores, TOP1, FAMILIES)


def test_two_networks_are_no_ranking():
    with pytest.raises(ValueError, match="2 networks make no ranking"):
        compare([1.0, 2.0], TOP1[:2], FAMILIES[:2])


def test_with_ties_they_are_scipys():
    scores = [3.0, 1.0, 1.0, 5.0, 3.0, 4.0, 7.0, 6.0]
    found = compare(scores, TOP1, FAMILIES)
    assert found.spearman.value == pytest.approx(spearmanr(scores, TOP1).statistic)
    assert found.kendall.value == pytest.approx(kendalltau(scores, TOP1).statistic)
