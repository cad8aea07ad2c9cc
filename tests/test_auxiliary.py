"""Losses of a mechanism's own: who hears them, and what they may be."""

import math

import pytest
import torch

from attnbench import auxiliary


def test_where_nobody_listens_nothing_is_kept_and_nothing_is_said():
    auxiliary.contribute(torch.zeros(3))
    assert not auxiliary.is_heard()


def test_what_is_contributed_is_heard_by_the_innermost_and_by_nobody_afterwards():
    with auxiliary.listening() as outer:
        auxiliary.contribute(torch.tensor(1.0))
        with auxiliary.listening() as inner:
            auxiliary.contribute(torch.tensor(2.0))
        auxiliary.contribute(torch.tensor(3.0))
    auxiliary.contribute(torch.tensor(4.0))
    assert ([each.item() for each in outer], [each.item() for each in inner]) == ([1, 3], [2])


def test_a_forward_pass_that_raises_leaves_nobody_listening():
    with pytest.raises(RuntimeError, match="no"), auxiliary.listening():
        raise RuntimeError("no")
    assert not auxiliary.is_heard()


@pytest.mark.parametrize("loss", [torch.zeros(2), torch.tensor(1)])
def test_what_is_no_loss_is_refused(loss):
    with auxiliary.listening(), pytest.raises(ValueError, match="one floating-point number"):
        auxiliary.contribute(loss)


def test_a_loss_that_nothing_was_added_to_is_the_very_same():
    loss = torch.tensor(0.5)
    assert auxiliary.added(loss, []) is loss
    assert auxiliary.added(loss, [torch.tensor([0.25]), torch.tensor(1.0, dtype=torch.float64)]).item() == 1.75


def test_a_loss_that_is_not_finite_says_whose_doing_it_is():
    assert auxiliary.not_finite(math.inf, [torch.tensor(0.0)]) == "the loss is inf"
    said = auxiliary.not_finite(math.nan, [torch.tensor(0.0), torch.tensor(math.nan)])
    assert said == "the loss is nan, by the mechanism's own, which is nan"
