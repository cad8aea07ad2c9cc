"""Twins' attention: whom its layers reach, its reductions, and the cost of the published networks."""

from functools import partial

import pytest
from layer_checks import (
    influence_on,
    random_layer_and_map,
    recorded_forward,
    site_of,
)

from attnbench.mechanisms.twins import TwinsAttention

LSA, GSA = 0, 1
SIDES = {"window": 3, "reduction": 2}
layer_and_map = partial(random_layer_and_map, TwinsAttention, **SIDES)


@pytest.mark.parametrize("index", range(4))
def test_layers_alternate_between_a_window_and_the_whole_map(index):
    layer, x = layer_and_map(site_of(7, 8, index))
    reached = influence_on(layer, x, 0, 0).any(-1)
    assert reached[:3, :3].all()
    assert reached.sum() == (9 if index % 2 == LSA else 7 * 8)


@pytest.mark.parametrize(("stride", "reduction"), [(4, 8), (8, 4), (16, 2), (32, 1)])
def test_the_reduction_follows_the_stride(stride, reduction):
    layer = TwinsAttention(site_of(8, 8, GSA, stride=stride))
    assert getattr(layer.gather.reduce, "reduction", 1) == reduction


def test_weights_start_with_deviation_of_two_hundredths_and_no_bias():
    layer = TwinsAttention(site_of(8, 8, GSA, dim=64))
    for module in (layer.gather.q, layer.gather.kv, layer.gather.reduce.conv, layer.proj):
        assert 0.019 < module.weight.std() < 0.021
        assert not module.bias.any()


def network_macs(dims, depths, heads):
    """A Twins-SVT at 224 pixels: patches, position convolutions, attention, MLPs of ratio 4, classifier."""
    total, channels = 0, 3
    for stage, (dim, depth, head_count) in enumerate(zip(dims, depths, heads, strict=True)):
        side = 56 >> stage
        total += side**2 * dim * (channels * (16 if stage == 0 else 4) + 9)
        for index in range(depth):
            site = site_of(side, side, index, dim=dim, heads=head_count, stride=4 << stage)
            total += TwinsAttention.macs(site).total + 8 * site.tokens * dim**2
        channels = dim
    return total + channels * 1000


@pytest.mark.parametrize(
    ("dims", "depths", "heads", "published"),
    [
        ((64, 128, 256, 512), (2, 2, 10, 4), (2, 4, 8, 16), 2.9),
        ((96, 192, 384, 768), (2, 2, 18, 2), (3, 6, 12, 24), 8.6),
        ((128, 256, 512, 1024), (2, 2, 18, 2), (4, 8, 16, 32), 15.1),
    ],
    ids=["small", "base", "large"],
)
def test_macs_of_the_networks_are_those_of_the_papers_table(dims, depths, heads, published):
    """The FLOPs that the paper prints of Twins-SVT small, base and large: 2.9, 8.6 and 15.1 G."""
    assert round(network_macs(dims, depths, heads) / 1e9, 1) == published


def test_a_map_of_whole_windows_is_not_padded():
    assert "constant_pad_nd" not in recorded_forward(*layer_and_map(site_of(6, 9, LSA))).operators
