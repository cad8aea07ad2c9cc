"""New values for every call, and the same again wherever they are made."""

from __future__ import annotations

import pytest
import torch

from attnbench.models.values import InputValues, draw


def filled(number: int, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.empty(2, 3, 8, 8, dtype=dtype)
    InputValues(x, channels=1, seed=0).fill(number)
    return x


def test_a_number_gives_the_same_values_again_and_another_gives_others() -> None:
    assert torch.equal(filled(7), filled(7))
    assert not torch.equal(filled(7), filled(8))
    assert draw() != draw()


def test_values_do_not_depend_on_the_default_type_of_the_process() -> None:
    expected = filled(7)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(filled(7), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_they_are_spread_as_normals_are_but_for_a_shift_of_each_channel(dtype: torch.dtype) -> None:
    x = torch.empty(64, 4, 32, 32, dtype=dtype)
    InputValues(x, channels=1, seed=0).fill(draw())
    within = x.float().var(dim=(0, 2, 3))
    torch.testing.assert_close(within, torch.ones(4), rtol=0.1, atol=0)
