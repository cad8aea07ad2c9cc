"""Spatial-reduction attention: which tokens its keys hold, PVT's choices by stage, and timm's cost."""

from functools import partial

import pytest
import torch
from layer_checks import (
    PVT_STAGES,
    influence_on,
    machine_flops,
    random_layer_and_map,
    recorded_forward,
    site_of,
)
from mechanism_cases.sra import by_definition
from timm.models.pvt_v2 import Attention

from attnbench.mechanisms.sra import SpatialReductionAttention as Sra

BACKENDS = ["sdpa", "unfused"]
layer_and_map = partial(random_layer_and_map, Sra)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(5, 7), (9, 5), (3, 3)], ids=str)
def test_every_token_is_in_a_key_where_the_patches_do_not_fit(size, backend):
    layer, x = layer_and_map(site_of(*size), reduction=2, backend=backend)
    assert influence_on(layer, x, 0, 0).abs().amin(-1).gt(0).all()


def test_tokens_of_a_map_smaller_than_a_patch_all_get_the_output_of_its_one_key():
    layer, x = layer_and_map(site_of(2, 3), reduction=4)
    torch.testing.assert_close(layer(x), layer(x)[:, :1, :1].expand_as(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("stride", "reduction"), [(2, 8), (4, 8), (8, 4), (16, 2), (32, 1), (64, 1)])
def test_automatic_reduction_is_that_of_pvts_stage(stride, reduction):
    site = site_of(9, 5, stride=stride)
    layer, x = layer_and_map(site)
    assert Sra.macs(site) == Sra.macs(site, reduction=reduction)
    torch.testing.assert_close(layer(x), by_definition(layer, x, reduction=reduction), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("site", PVT_STAGES.values(), ids=PVT_STAGES)
def test_closed_form_is_the_machine_count_of_timms_layer_in_every_stage(site):
    with torch.device("meta"):
        layer = Attention(site.dim, num_heads=site.heads, sr_ratio=32 // site.stride)
        tokens = torch.empty(1, site.tokens, site.dim)
    assert sum(machine_flops(layer, tokens, (site.height, site.width)).values()) == 2 * Sra.macs(site).total


def test_convolution_costs_the_same_whatever_the_reduction():
    assert {Sra.macs(site_of(16, 16), reduction=side).other for side in (2, 4, 8, 16)} == {256 * 8**2}


def test_weights_start_as_pvts():
    torch.manual_seed(0)
    layer = Sra(site_of(8, 8, dim=64))
    assert all(not module.bias.any() for module in (layer.q, layer.kv, layer.proj))
    for module in (layer.q, layer.kv, layer.proj):
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
    reach = (64 * 2 * 2) ** -0.5
    assert reach * 0.99 < layer.reduce.conv.weight.abs().max() <= reach
    assert layer.reduce.conv.weight.std().item() == pytest.approx(reach / 3**0.5, rel=0.05)


def test_a_map_of_whole_patches_is_not_copied_for_padding():
    operators = recorded_forward(*layer_and_map(site_of(8, 8), dtype=torch.float32)).operators
    assert "constant_pad_nd" not in operators
    assert operators["clone"] == 2  # the patches, side by side, and the weight in their order
