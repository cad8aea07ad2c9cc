"""Accuracy along an axis, as numbers and as text."""

import pytest

from attnbench.accuracy.tasks.curve import Curve


def test_a_curve_is_read_as_it_was_written():
    curve = Curve(seeds=3).with_share(16, 2, 1 / 3).with_share(4, 0, 1.0).with_share(16, 0, 0.0)
    assert str(curve) == "4: 1 - -; 16: 0 - 0.333333"
    again = Curve.read(str(curve))
    assert str(again) == str(curve)
    assert [again.has(16, seed) for seed in range(3)] == [True, False, True]
    assert not again.has(8, 0)


@pytest.mark.parametrize("text", ["4: 1 2", "4: nan", "4: 1; 8: 1 1", "4:", "four: 1", "4: -0.1"])
def test_what_is_no_curve_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - float's and int's own
        Curve.read(text)


def test_points_are_means_with_students_interval():
    # t(0.975, 2 degrees of freedom) = 4.30265, as in any table.
    (point,) = Curve.read("8: 0.5 0.6 0.7").points()
    assert point.mean == pytest.approx(0.6)
    assert (point.low, point.high) == pytest.approx((0.6 - 4.30265 * 0.1 / 3**0.5, 0.6 + 4.30265 * 0.1 / 3**0.5))


def test_a_single_seed_has_no_interval_and_seeds_without_a_share_are_left_out():
    (point,) = Curve.read("8: - 0.6 -").points()
    assert (point.mean, point.low, point.high) == (0.6, None, None)


def test_a_seed_has_a_mean_where_it_has_every_value():
    curve = Curve.read("1: 1 1; 2: 0.5 -")
    assert curve.of_seed(0, (1, 2)) == 0.75
    assert curve.of_seed(1, (1, 2)) is None
    assert curve.of_seed(1, (1,)) == 1.0


def test_it_holds_to_the_last_value_before_the_first_that_falls():
    curve = Curve.read("1: 1; 2: 0.9; 4: 0.5; 8: 1")
    assert curve.holds_to(chance=0.125) == 2
    assert Curve.read("1: 0.5").holds_to(chance=0.125) == 0
    assert Curve.read("1: 1; 2: 0.5625").holds_to(chance=0.125) == 2
