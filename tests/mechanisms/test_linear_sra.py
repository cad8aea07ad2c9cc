"""Linear spatial-reduction attention: which tokens its keys hold, timm's cost, and how it starts."""

from functools import partial

import pytest
import torch
from layer_checks import (
    PVT_STAGES,
    influence_on,
    machine_flops,
    random_layer_and_map,
    site_of,
)
from timm.models.pvt_v2 import Attention

from attnbench.mechanisms.linear_sra import LinearSpatialReductionAttention as LinearSRA

BACKENDS = ["sdpa", "unfused"]
layer_and_map = partial(random_layer_and_map, LinearSRA)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(9, 13), (3, 5), (15, 7)], ids=str)
def test_every_token_is_in_a_key(size, backend):
    layer, x = layer_and_map(site_of(*size), backend=backend)
    assert influence_on(layer, x, 0, 0).abs().amin(-1).gt(0).all()


@pytest.mark.parametrize("site", PVT_STAGES.values(), ids=PVT_STAGES)
def test_closed_form_is_the_machine_count_of_timms_layer_in_every_stage(site):
    with torch.device("meta"):
        layer = Attention(site.dim, num_heads=site.heads, linear_attn=True)
        tokens = torch.empty(1, site.tokens, site.dim)
    assert sum(machine_flops(layer, tokens, (site.height, site.width)).values()) == 2 * LinearSRA.macs(site).total


def test_macs_grow_linearly_with_the_map():
    fixed, first, second, fourth = (LinearSRA.macs(site_of(rows, 8)).total for rows in (0, 8, 16, 32))
    assert second - fixed == 2 * (first - fixed)
    assert fourth - fixed == 4 * (first - fixed)


def test_weights_start_as_pvt_v2s():
    torch.manual_seed(0)
    layer = LinearSRA(site_of(8, 8, dim=64))
    assert all(not module.bias.any() for module in (layer.q, layer.kv, layer.proj, layer.reduce.conv))
    for module in (layer.q, layer.kv, layer.proj):
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert layer.reduce.conv.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
