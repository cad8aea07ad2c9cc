from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from attnbench.report.placement import binary_ticks, linear_ticks, log_ticks, spread


@pytest.mark.parametrize(("low", "high"), [(12, 280), (12, 16), (0.01, 9000), (10, 10.4), (3e-7, 5e9), (0.95, 1.05)])
@pytest.mark.parametrize("ticks", [log_ticks, binary_ticks])
def test_a_logarithmic_axis_has_three_to_eleven_ticks_within_its_ends(ticks, low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 11
    assert found == sorted(set(found))
    assert low <= found[0] * (1 + 1e-9)
    assert found[-1] <= high * (1 + 1e-9)


def test_memory_has_powers_of_two_where_enough_of_them_fit():
    assert binary_ticks(40, 1100) == [64, 128, 256, 512, 1024]
    assert binary_ticks(50, 70) == [50, 55, 60, 65, 70]


def test_linear_ticks_are_multiples_of_a_round_step():
    assert linear_ticks(0, 17) == [0, 5, 10, 15]
    assert linear_ticks(75.2, 83) == [76, 78, 80, 82]
    assert linear_ticks(4, 4) == [4]


def test_what_stands_apart_stays_where_it_is():
    assert spread([30.0, 10.0, 20.0], gap=5, low=0, high=100) == [30, 10, 20]


def test_what_coincides_is_spread_evenly_about_its_place():
    assert spread([50.0, 50.0, 50.0], gap=10, low=0, high=100) == pytest.approx([40, 50, 60])


@pytest.mark.parametrize("seed", range(5))
def test_positions_are_the_nearest_ones_a_gap_apart(seed):
    wanted = np.sort(np.random.default_rng(seed).uniform(0, 100, 9))
    steps = 12 * np.arange(9)
    best = isotonic_regression(wanted - steps, y_min=0, y_max=120 - steps[-1]) + steps
    assert spread(list(wanted), gap=12, low=0, high=120) == pytest.approx(list(best))


def test_positions_keep_within_the_ends():
    found = sorted(spread([98.0, 99.0, 97.0], gap=10, low=0, high=100))
    assert found == pytest.approx([80, 90, 100])
    assert all(b - a >= 10 - 1e-9 for a, b in itertools.pairwise(found))
