"""Token merging from layer to layer: sizes and tokens are kept, and the MLP sees each token once."""

from dataclasses import replace

import torch
from layer_checks import random_layer_and_map, site_of
from mechanism_cases import tome as definition
from torch import nn

from attnbench.mechanisms.tome import TokenMergingAttention
from attnbench.models.backbone import BackboneBlock


def test_blocks_keep_tokens_and_sizes_as_the_definition_does():
    site, x = site_of(3, 5), random_layer_and_map(TokenMergingAttention, site_of(3, 5), batch=1)[1].detach()
    kept, y, carry = [([place], value) for place, value in enumerate(x[0].flatten(0, 1))], x, None
    for layer in range(4):
        mechanism, _ = random_layer_and_map(TokenMergingAttention, replace(site, layer=layer), merge=4)
        block = BackboneBlock(mechanism, 8, 4).double()
        seen = []
        block.mlp.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0].shape))
        with torch.no_grad():
            kept = [(places, value + block.mlp(value)) for places, value in definition.merge(mechanism, kept, 4)]
            seen.clear()
            y, carry = block(y, carry)
        assert seen == [(1, 1, len(kept), 8)]
        assert TokenMergingAttention.mlp_tokens(mechanism.site, merge=4) == len(kept)
        torch.testing.assert_close(y[0].flatten(0, 1), definition.mapped(kept, 15), rtol=1e-10, atol=1e-10)
        assert carry.sizes.flatten().tolist() == [len(places) for places, _ in kept]
    assert len(kept) == 2


def test_a_stage_starts_with_all_places_of_its_map():
    first, x = random_layer_and_map(TokenMergingAttention, site_of(4, 4), merge=6)
    later, y = random_layer_and_map(TokenMergingAttention, site_of(2, 2), merge=1)
    carry = first.step(x, None)[1]
    torch.testing.assert_close(later.step(y, carry)[0], later(y))


def test_no_gradient_is_asked_of_what_is_most_alike():
    layer, x = random_layer_and_map(TokenMergingAttention, site_of(3, 3), merge=4)
    nn.init.zeros_(layer.proj.weight)
    layer(x).square().sum().backward()
    assert not layer.qkv.weight.grad[:16].any()  # queries and keys have no say where attention adds nothing
