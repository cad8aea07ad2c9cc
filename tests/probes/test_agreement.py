"""What counts as another answer: by type, by what the values are relative to, by how far an untouched copy is."""

from __future__ import annotations

import math

import pytest
import torch

from attnbench.probes import agreement


@pytest.mark.parametrize(("dtype", "roundings"), [(torch.float32, 256), (torch.bfloat16, 4), (torch.float16, 8)])
def test_a_type_is_allowed_a_number_of_its_own_roundings(dtype, roundings):
    rounding = torch.finfo(dtype).eps / 2
    assert agreement.TIGHT[dtype] == roundings * rounding


def test_what_is_exact_beside_a_type_rounds_a_thousandth_as_much_or_less():
    for dtype, exact in agreement.EXACT.items():
        assert torch.finfo(exact).eps * 1000 < torch.finfo(dtype).eps


def test_errors_are_relative_to_the_largest_value_that_is_right():
    right = {"output 0": torch.tensor([1.0, -4.0])}
    assert agreement.errors({"output 0": torch.tensor([1.0, -3.0])}, right) == {"output 0": 0.25}
    assert agreement.errors({"output 0": torch.tensor([2.0, -4.0])}, right) == {"output 0": 0.25}


def test_a_tensor_that_is_zero_but_for_rounding_is_relative_to_others_of_its_kind():
    right = {"gradient of w": torch.tensor([1.0]), "gradient of b": torch.tensor([1e-9]), "output 0": torch.zeros(1)}
    found = {"gradient of w": torch.tensor([1.0]), "gradient of b": torch.tensor([3e-9]), "output 0": torch.zeros(1)}
    errors = agreement.errors(found, right)
    assert errors["gradient of b"] == pytest.approx(2e-6, rel=1e-3)
    assert agreement.beyond(errors, None, agreement.TIGHT[torch.float32]) == {}


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"output 0": torch.zeros(3)},
        {"output 0": torch.tensor([math.nan, 1.0])},
        {"output 0": torch.tensor([math.inf, 1.0])},
    ],
    ids=["missing", "another shape", "no number", "infinite"],
)
def test_what_cannot_be_compared_is_infinitely_far(found):
    error = agreement.errors(found, {"output 0": torch.ones(2)})
    assert error == {"output 0": math.inf}
    assert agreement.beyond(error, {"output 0": 1e9}, 1.0) == error


def test_infinities_at_the_same_places_are_compared_nowhere_else():
    overflowed = torch.tensor([math.inf, 1.0])
    assert agreement.errors({"output 0": overflowed}, {"output 0": overflowed}) == {"output 0": 0.0}
    off = {"output 0": torch.tensor([math.inf, 1.5])}
    assert agreement.errors(off, {"output 0": overflowed}) == {"output 0": 0.5}
    assert agreement.errors({"output 0": torch.ones(2)}, {"output 0": overflowed}) == {"output 0": math.inf}


def test_nothing_apart_is_nothing_even_of_zeros_and_of_no_elements():
    assert agreement.errors({"input": torch.zeros(2)}, {"input": torch.zeros(2)}) == {"input": 0.0}
    assert agreement.errors({"input": torch.empty(0)}, {"input": torch.empty(0)}) == {"input": 0.0}
    assert agreement.errors({"input": torch.full((2,), 1e-9)}, {"input": torch.zeros(2)})["input"] > 1


def test_types_are_compared_as_numbers():
    half = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    assert agreement.errors({"output 0": half}, {"output 0": half.double()}) == {"output 0": 0.0}


def test_more_than_rounding_is_above_the_types_bar_and_above_four_times_the_copys_own():
    found = {"output 0": 0.004}
    assert agreement.beyond(found, None, 0.004) == {}
    assert agreement.beyond(found, None, 0.0039) == found
    assert agreement.beyond(found, {"output 0": 0.001}, 1e-6) == {}
    assert agreement.beyond(found, {"output 0": 0.00099}, 1e-6) == found
    assert agreement.beyond(found, {"output 1": 1.0}, 1e-6) == found
    assert agreement.beyond({"output 0": math.nan}, None, 1.0)


def test_the_worst_is_named_and_digits_are_those_that_agree():
    assert agreement.worst({"a": 0.1, "b": 0.5}) == ("b", 0.5)
    assert agreement.worst({}) == ("", 0.0)
    assert [agreement.digits(error) for error in (0.0, 2e-7, 1e-3, 0.02, 3.0)] == [16, 6, 3, 1, 0]
    assert agreement.digits(math.inf) == 0
