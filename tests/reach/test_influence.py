"""Numbers of an effective receptive field, on fields whose numbers are known."""

import math

import numpy as np
import pytest

from attnbench.reach.influence import ABOVE, Influence


def field(sizes, *, stride=1):
    height, width = sizes.shape
    return Influence(sizes=sizes, row=height / 2, column=width / 2, stride=stride)


def gaussian(down, right, side=201):
    """A Gaussian of two standard deviations, in pixels."""
    along = np.arange(side) + 0.5 - side / 2
    return np.exp(-((along[:, None] / down) ** 2) / 2 - (along[None] / right) ** 2 / 2)


def test_a_gaussian_has_the_areas_that_its_formula_gives():
    found, deviation, pixels = field(gaussian(12, 12)), 12, 201**2
    radius2 = -2 * deviation**2 * math.log(ABOVE)
    assert found.area_above == pytest.approx(math.pi * radius2 / pixels, rel=0.01)
    # Within a radius r lies 1 - exp(-r^2 / 2 s^2) of it.
    for share in (0.5, 0.99):
        assert found.area_of(share) == pytest.approx(
            -2 * math.pi * deviation**2 * math.log(1 - share) / pixels, rel=0.01
        )


def test_what_lies_beyond_a_window_of_a_gaussian_is_what_erf_says():
    within = math.erf(10.5 / 12 / math.sqrt(2)) ** 2
    assert field(gaussian(12, 12)).beyond(21) == pytest.approx(1 - within, abs=0.002)
    assert field(gaussian(12, 12)).beyond(201) == 0


def test_elongation_is_that_of_the_spread_whichever_way_it_lies():
    assert field(gaussian(8, 8)).elongation == pytest.approx(1, abs=1e-6)
    assert field(gaussian(4, 12)).elongation == pytest.approx(3, rel=0.01)
    assert field(gaussian(12, 4)).elongation == pytest.approx(3, rel=0.01)
    aside = Influence(sizes=gaussian(8, 8), row=40, column=100, stride=1)
    assert aside.elongation == pytest.approx(1, abs=1e-6)
    line = np.zeros((5, 5))
    line[2] = 1
    assert field(line).elongation == math.inf


def test_a_cross_is_axial_and_a_diagonal_is_not():
    cross = np.zeros((9, 9))
    cross[4], cross[:, 4] = 1, 1
    assert field(cross).axial == 1
    assert field(np.eye(9)).axial == 0
    assert field(gaussian(20, 20)).axial == pytest.approx(0.5, abs=0.02)
    alone = np.zeros((9, 9))
    alone[4, 4] = 1
    assert field(alone).axial == 0


def test_a_single_pixel_is_its_own_area():
    alone = np.zeros((10, 10))
    alone[3, 3] = 2
    found = field(alone)
    assert (found.area_above, found.area_of(0.5), found.area_of(0.99)) == (0.01, 0.01, 0.01)
