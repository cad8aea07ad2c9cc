"""Layers inside timm's networks, by the name of the network."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models.xcit import XCA, ClassAttentionBlock

from attnbench.errors import PluginError
from attnbench.mechanism import Site
from attnbench.plugins.inside import layer_of
from attnbench.plugins.registry import discover

AT_STAGE_2 = Site(height=28, width=28, dim=192, heads=6, stride=8)


def test_a_layer_has_the_parameters_that_it_has_in_its_network() -> None:
    with torch.device("meta"):
        layer = discover().find("timm:focalnet_tiny_lrf").load()(AT_STAGE_2)
        theirs = timm.create_model("focalnet_tiny_lrf").layers[1].blocks[0].modulation
    ours = {name.partition(".")[2]: each.shape for name, each in layer.named_parameters()}
    assert ours == {name: each.shape for name, each in theirs.named_parameters()}


def test_it_takes_a_map_as_any_layer_of_somebody_elses() -> None:
    mechanism = discover().find("timm:deit_tiny_patch16_224").load()
    site = Site(height=3, width=5, dim=12, heads=2)
    assert mechanism(site)(torch.zeros(2, 3, 5, 12)).shape == (2, 3, 5, 12)
    assert mechanism.recipe.fixed["qkv_bias"] is True  # the network's own; the class has none by default


def test_of_several_kinds_the_one_that_is_named_is_taken_and_nothing_stays_changed() -> None:
    before = XCA.__init__, ClassAttentionBlock.__init__
    name = "xcit_nano_12_p8_224"
    assert (layer_of(name)[0], layer_of(name, "ClassAttentionBlock")[0]) == (XCA, ClassAttentionBlock)
    assert (XCA.__init__, ClassAttentionBlock.__init__) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:focalnet_tiny_sfr", "timm has no network 'focalnet_tiny_sfr'; did you mean"),
        ("timm:resnet18", "has no layer of attention; it has none that is called"),
        ("timm:focalnet_tiny_srf.Attention", "has no layer Attention; it has FocalModulation"),
    ],
)
def test_what_is_not_there_is_said(name: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        discover().find(name).load()
