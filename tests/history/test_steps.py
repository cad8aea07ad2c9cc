"""Series with and without changes of level: what is found, where, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from attnbench.history.steps import steps


def series(count: int, *, seed: int, alike: float = 0.0, tails: bool = False) -> np.ndarray:
    """Return logarithms that scatter by 2 % about one level, neighbours as alike as said."""
    random = np.random.default_rng(seed)
    noise = 0.02 * (random.standard_t(2, size=count) if tails else random.standard_normal(count))
    for place in range(1, count):
        noise[place] += alike * noise[place - 1]
    return noise


@pytest.mark.parametrize(
    ("kind", "most"), [({}, 0), ({"tails": True}, 1), ({"alike": 0.3}, 2)], ids=["normal", "long tails", "alike"]
)
def test_nothing_is_found_where_nothing_changed(kind: dict, most: int) -> None:
    found = [bool(steps(np.exp(series(80, seed=seed, **kind)))) for seed in range(40)]
    assert sum(found) <= most


def test_a_change_of_ten_per_cent_is_found_where_it_is_with_its_size() -> None:
    near, held = 0, 0
    for seed in range(40):
        logs = series(80, seed=seed)
        logs[50:] += np.log(1.1)
        (found,) = steps(np.exp(logs))
        near += abs(found.place - 50) <= 1
        held += found.ratio.low <= 1.1 <= found.ratio.high
    assert near >= 38
    assert held >= 36


def test_what_rises_and_falls_again_is_two_changes() -> None:
    logs = series(120, seed=3)
    logs[40:80] += np.log(1.15)
    assert [step.place for step in steps(np.exp(logs))] == [40, 80]


def test_a_run_or_two_that_were_disturbed_are_no_change() -> None:
    logs = series(60, seed=5)
    logs[30:32] += np.log(3)
    assert steps(np.exp(logs)) == []


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_runs_say_nothing(count: int) -> None:
    assert steps([1.0] * (count // 2) + [9.0] * (count - count // 2)) == []


def test_equal_runs_are_no_change_and_a_step_between_equal_runs_is_one() -> None:
    assert steps([1.0] * 30) == []
    (found,) = steps([1.0] * 20 + [2.0] * 20)
    assert (found.place, found.ratio.value) == (20, pytest.approx(2))
