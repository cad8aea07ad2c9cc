"""Linformer: its mixtures of keys and values, and where there are none."""

import math
from functools import partial

import pytest
import torch
from layer_checks import SITES, random_layer_and_map

from attnbench.mechanism import Site
from attnbench.mechanisms.linformer import LinformerAttention
from attnbench.mechanisms.mhsa import MHSA
from attnbench.testing import check_mechanism

SHARES = ["heads", "key-value"]
KEPT = 4
CHECKED = ["global-state", "deterministic", "state-dict", "gradients-reach", "half-precision", "macs", "exports"]
layer_and_map = partial(random_layer_and_map, LinformerAttention, tokens=KEPT)


@pytest.mark.parametrize("share", SHARES)
def test_keys_and_values_have_mixtures_of_their_own_unless_they_share_them(share):
    layer, x = layer_and_map(SITES["square"], share=share)
    assert layer.mix.weight.shape == (1 if share == "key-value" else 2, KEPT, 16)
    expected = layer(x)
    with torch.no_grad():
        layer.mix.weight[-1] = 0  # values, and keys too if they are shared
    assert not torch.allclose(layer(x), expected)
    torch.testing.assert_close(layer(x), layer.proj.bias.expand_as(x))


@pytest.mark.parametrize("tokens", [16, 17, 256])
def test_a_map_of_no_more_tokens_than_kept_costs_what_multi_head_self_attention_does(tokens):
    assert LinformerAttention.macs(SITES["square"], tokens=tokens) == MHSA.macs(SITES["square"])


def test_a_layer_takes_maps_of_the_tokens_that_it_was_built_for_only():
    layer, _ = layer_and_map(SITES["square"])
    with pytest.raises(RuntimeError):
        layer(torch.randn(1, 4, 5, 12, dtype=torch.float64))


@pytest.mark.parametrize("options", [{"tokens": 20}, {"tokens": 20, "share": "key-value"}], ids=SHARES)
def test_the_contract_is_kept_where_the_map_is_projected(options):
    site = Site(height=9, width=5, dim=24, heads=3)
    check_mechanism(LinformerAttention, sites=[site], checks=CHECKED, **options)


@pytest.mark.parametrize("side", [14, 28, 56])
def test_attention_is_linear_in_the_tokens_once_they_are_projected(side):
    small, large = (Site(height=each, width=each, dim=64, heads=1) for each in (side, 2 * side))
    ratio = LinformerAttention.macs(large, tokens=64).total / LinformerAttention.macs(small, tokens=64).total
    assert ratio == 4


def test_mixtures_keep_the_size_of_what_they_mix():
    """Glorot uniform with gain 1 / sqrt 2 has a variance of 1 / (N + k)."""
    torch.manual_seed(0)
    layer = LinformerAttention(Site(height=28, width=28, dim=8, heads=2), tokens=64)
    for each in layer.mix.weight:
        assert each.std().item() == pytest.approx((784 + 64) ** -0.5, rel=0.02)
        assert each.abs().max().item() <= math.sqrt(3 / (784 + 64))
    assert layer.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not layer.qkv.bias.any()


@pytest.mark.parametrize(
    ("side", "tokens", "mixed"), [(17, 256, True), (16, 256, False), (7, 256, False), (7, 48, True)]
)
def test_mixing_costs_something_where_the_map_is_projected(side, tokens, mixed):
    macs = LinformerAttention.macs(Site(height=side, width=side, dim=8, heads=2), tokens=tokens)
    assert (macs.other > 0) == mixed


def test_tokens_are_256_where_nobody_said():
    assert LinformerAttention.adaptation(Site(height=1, width=256, dim=4, heads=2)) is not None
    assert LinformerAttention.adaptation(Site(height=1, width=257, dim=4, heads=2)) is None
    assert LinformerAttention(Site(height=1, width=257, dim=4, heads=2)).mix.weight.shape == (2, 256, 257)
