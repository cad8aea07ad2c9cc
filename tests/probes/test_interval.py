"""The interval of a mean against scipy's."""

import numpy as np
import pytest
from scipy import stats

from attnbench.probes.interval import mean_interval


@pytest.mark.parametrize("n", [2, 5, 30])
def test_the_interval_of_a_mean_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(3.0, 0.5, n)
    found = mean_interval(values.tolist())
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    )
    assert found.value == pytest.approx(values.mean())
