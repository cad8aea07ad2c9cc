"""A network under a head sees images of every size with the same weights, those included that are bound to one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attnbench.models.dense.features import Features
from attnbench.models.dense.resized import NetworkOfAnySize, SizeRefusedError

FREE, BOUND = "test_resnet", "swin_tiny_patch4_window7_224"
SMALL = {"embed_dim": 24, "depths": "1/1/1/1", "num_heads": "1/1/2/2", "window_size": 2}


def of_any_size(name: str, options: dict[str, object]) -> tuple[NetworkOfAnySize, dict[str, torch.Tensor], list[int]]:
    """A network, its weights, and how often they were loaded."""
    torch.manual_seed(0)
    state, loads = Features(name, height=64, width=64, **options).network.state_dict(), []

    def load(features: Features) -> None:
        loads.append(1)
        features.network.load_state_dict(state)

    return NetworkOfAnySize(name, options, load, height=64, width=64).eval(), state, loads


@pytest.mark.parametrize(("name", "options", "built"), [(FREE, {}, 1), (BOUND, SMALL, 3)])
def test_maps_are_those_of_a_network_that_was_built_for_the_size(name, options, built):
    body, state, loads = of_any_size(name, options)
    for size in [(64, 64), (96, 64), (96, 64), (64, 64)]:
        images = torch.randn(1, 3, *size)
        fresh = Features(name, height=size[0], width=size[1], **options).eval()
        fresh.network.load_state_dict(state)
        with torch.no_grad():
            assert all(torch.equal(one, other) for one, other in zip(body(images), fresh(images), strict=True))
    assert len(loads) == built


def test_a_size_that_is_not_taken_is_said_with_what_the_network_raised():
    body, _, _ = of_any_size(FREE, {})
    body.features.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(SizeRefusedError, match="images of 64x70 pixels") as caught:
        body(torch.randn(1, 3, 64, 70))
    assert caught.value.size == (64, 70)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_maps_that_are_no_numbers_are_an_error():
    body, _, _ = of_any_size(FREE, {})
    first = next(each for each in body.modules() if isinstance(each, nn.Conv2d))
    first.weight.data.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match="maps are infinite or not numbers"):
        body(torch.randn(1, 3, 64, 64))
