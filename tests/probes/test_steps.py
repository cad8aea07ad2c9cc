"""Operators that a call takes, one by one, and what rounding each of them does to a result."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attnbench.probes.steps import Jitter, Steps

ROUNDING = 2.0**-24


def moved(function, *args):
    """Return by how much a result moves where every operator rounds another way, relative to its largest value."""
    right = function(*args)
    with Jitter(torch.float64, rounding=ROUNDING):
        found = function(*args)
    return float((found - right).abs().max() / right.abs().max())


def test_steps_are_the_operators_with_the_sizes_of_what_they_are_given():
    layer, x = nn.Linear(3, 4), torch.ones(2, 3)
    with Steps() as first, torch.no_grad():
        layer(x)
    with Steps() as again, torch.no_grad():
        layer(x + 1)
    assert first.taken == [step for step in again.taken if not step.startswith("aten.add.")]
    assert any("2x3 3x4" in step for step in first.taken)


def test_steps_know_another_size_and_a_product_left_out():
    x = torch.ones(4, 4)
    with Steps() as small:
        x[:2] @ x
    with Steps() as large:
        x[:3] @ x
    with Steps() as none:
        x[:2]
    assert small.taken != large.taken
    assert none.taken == small.taken[:-1]


def test_a_result_moves_by_about_a_rounding():
    x = torch.randn(64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert ROUNDING / 4 < moved(torch.matmul, x, x) < 16 * ROUNDING


def test_what_cancels_loses_the_digits_that_float32_would():
    x = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def cancels(x):
        return (1000 + x).square() - 1000**2

    in_float32 = float((cancels(x.float()) - cancels(x)).abs().max() / cancels(x).abs().max())
    assert in_float32 / 8 < moved(cancels, x) < 8 * in_float32


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.cat([x, x.flip(0)]).clone().reshape(-1),
        lambda x: x.view(-1)[::2].t(),
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x.relu(),
    ],
    ids=["copies", "views", "choices", "relu"],
)
def test_values_that_are_put_elsewhere_stay_what_they_are(function):
    assert moved(function, torch.arange(16, dtype=torch.float64).view(4, 4)) == 0


def test_other_types_stay_what_they_are():
    with Jitter(torch.float64, rounding=0.5):
        assert torch.equal(torch.ones(3) + torch.ones(3), torch.full((3,), 2.0))
        assert torch.equal(torch.arange(3) * 2, torch.tensor([0, 2, 4]))


def test_an_operator_in_place_is_rounded_once():
    x = torch.ones(1000, dtype=torch.float64)
    with Jitter(torch.float64, rounding=ROUNDING):
        x.mul_(3)
    assert 0 < float((x / 3 - 1).abs().max()) < 8 * ROUNDING
