"""Twins' attention against its definition, timm's layers and published totals, and for what it costs."""

from functools import partial
from itertools import product

import pytest
import torch
from layer_checks import (
    FLOAT32_BYTES,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_exports,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_output_and_gradients,
    assert_refused,
    assert_same_with_its_weights,
    attention_by_definition,
    bytes_saved_for_backward,
    influence_on,
    random_layer_and_map,
    recorded_forward,
    recorded_training,
    site_of,
    with_weights_of,
)
from timm.models.twins import GlobalSubSampleAttn, LocallyGroupedAttn
from torch.nn.functional import layer_norm, linear

from mechanisms.twins import TwinsAttention

BACKENDS = ["sdpa", "unfused"]
LSA, GSA = 0, 1
KINDS = pytest.mark.parametrize("index", [LSA, GSA], ids=["LSA", "GSA"])
SIDES = {"window": 3, "reduction": 2}
MAPS = {
    "whole patches": (6, 6),
    "odd": (7, 5),
    "odd on one side": (6, 5),
    "wide and odd": (4, 10),
    "smaller than a window": (2, 2),
    "one token": (1, 1),
}
layer_and_map = partial(random_layer_and_map, TwinsAttention, **SIDES)


def in_window(layer, y, i, j, side):
    """What token (i, j) gathers: places of its window beyond the map hold the biases of keys and values."""
    project = layer.gather.qkv
    top, left = i // side * side, j // side * side
    places = [(row, column) for row in range(top, top + side) for column in range(left, left + side)]
    inside = [y[row, column] if row < len(y) and column < y.shape[1] else 0 * y[0, 0] for row, column in places]
    _, keys, values = project(torch.stack(inside)).chunk(3, dim=-1)
    query, _, _ = project(y[i, j]).chunk(3)
    return attention_by_definition(query[None], keys, values, layer.site.heads)[0]


def reduced_by_definition(layer, y, side):
    """One token for each patch; its places beyond the map hold nothing."""
    if side == 1:
        return y.flatten(0, 1)
    conv, norm = layer.gather.reduce.conv, layer.gather.reduce.norm
    tokens = []
    for top in range(0, len(y), side):
        for left in range(0, y.shape[1], side):
            patch = y[top : top + side, left : left + side]
            weight = conv.weight[:, :, : len(patch), : patch.shape[1]]
            tokens.append(torch.einsum("rci,oirc->o", patch, weight) + conv.bias)
    return layer_norm(torch.stack(tokens), norm.normalized_shape, norm.weight, norm.bias, 1e-5)


def by_definition(layer, x, *, window, reduction):
    """Image by image, token by token."""
    images = []
    for image in x:
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        if layer.site.layer % 2 == LSA:
            attended = torch.stack([in_window(layer, y, i, j, window) for i, j in product(*map(range, y.shape[:2]))])
        else:
            keys, values = layer.gather.kv(reduced_by_definition(layer, y, reduction)).chunk(2, dim=-1)
            attended = attention_by_definition(layer.gather.q(y).flatten(0, 1), keys, values, layer.site.heads)
        images.append(linear(attended, layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


@pytest.mark.parametrize("backend", BACKENDS)
@KINDS
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_output_and_gradients_are_those_of_the_definition(size, index, backend):
    layer, x = layer_and_map(site_of(*size, index), backend=backend)
    assert_output_and_gradients(layer, x, by_definition(layer, x, **SIDES))


@KINDS
@pytest.mark.parametrize("side", [1, 4])
def test_patches_of_other_sizes_follow_the_definition(side, index):
    layer, x = layer_and_map(site_of(5, 7, index), window=side, reduction=side)
    expected = by_definition(layer, x, window=side, reduction=side)
    torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)


def timms_output(layer, x, timms):
    y = layer.norm(x).flatten(1, 2)
    return timms(y, (layer.site.height, layer.site.width)).view(x.shape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(14, 14), (9, 13), (3, 16), (1, 1)], ids=str)
def test_lsa_is_timms_with_the_same_weights_on_any_map(size, backend):
    layer, x = layer_and_map(site_of(*size, LSA), window=7, backend=backend)
    timms = LocallyGroupedAttn(8, num_heads=2, ws=7).double()
    with_weights_of(timms, layer, {"qkv": "gather.qkv", "proj": "proj"})
    torch.testing.assert_close(layer(x), timms_output(layer, x, timms), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_gsa_is_timms_with_the_same_weights_on_whole_patches(reduction, backend):
    layer, x = layer_and_map(site_of(8, 12, GSA), reduction=reduction, backend=backend)
    timms = GlobalSubSampleAttn(8, num_heads=2, sr_ratio=reduction).double()
    names = {"q": "gather.q", "kv": "gather.kv", "proj": "proj"}
    if reduction > 1:
        names |= {"sr": "gather.reduce.conv", "norm": "gather.reduce.norm"}
    with_weights_of(timms, layer, names)
    torch.testing.assert_close(layer(x), timms_output(layer, x, timms), rtol=1e-11, atol=1e-11)


@KINDS
def test_backends_have_the_same_parameters_and_output(index):
    fused, x = layer_and_map(site_of(7, 5, index), backend="sdpa")
    assert_same_with_its_weights(TwinsAttention(fused.site, **SIDES, backend="unfused"), fused, x)


@KINDS
def test_images_of_a_batch_do_not_see_each_other(index):
    assert_images_do_not_see_each_other(*layer_and_map(site_of(7, 5, index), batch=3))


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


@pytest.mark.parametrize("backend", BACKENDS)
@KINDS
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_closed_form_is_the_machine_count(size, index, backend):
    parts = {"addmm": ("projections", "other"), "bmm": "attention"}
    assert_closed_form(TwinsAttention, site_of(*size, index), parts, **SIDES, backend=backend)


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


@pytest.mark.parametrize(
    ("site", "options", "said"),
    [
        (site_of(56, 56, LSA, stride=4), {}, None),
        (site_of(56, 56, GSA, stride=4), {}, None),
        (site_of(64, 64, LSA, stride=4), {}, "padded 64x64 to 70x70 (window 7, padding attended to)"),
        (site_of(64, 64, GSA, stride=4), {}, None),
        (site_of(4, 16, LSA), {}, "padded 4x16 to 7x21 (window 7, padding attended to)"),
        (site_of(4, 17, GSA, stride=4), {}, "padded 4x17 to 8x24 (reduction 8)"),
        (site_of(4, 16, GSA), {"reduction": 3}, "padded 4x16 to 6x18 (reduction 3)"),
        (site_of(16, 16, LSA), {"window": 8}, None),
    ],
)
def test_adaptation_says_what_was_padded(site, options, said):
    assert TwinsAttention.adaptation(site, **options) == said


@KINDS
@pytest.mark.parametrize("option", ["window", "reduction"])
def test_a_side_that_no_map_could_take_is_an_error_in_every_layer(option, index):
    assert_refused(TwinsAttention, site_of(7, 7, index), f"{option} must be at least 1.*got 0", **{option: 0})


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(TwinsAttention, site_of(7, 7, GSA), window=7)
    assert TwinsAttention.why_unsupported(site_of(1, 1, GSA)) is None


# Memory. Narrow heads make the scores of both kinds more than twice as many as anything else of the layer.
MEMORY_SITES = {LSA: site_of(28, 28, LSA, dim=8, heads=4), GSA: site_of(16, 16, GSA, dim=8, heads=4)}
SCORES = {LSA: 4 * 28 * 28 * 49, GSA: 4 * 256 * 64}


def memory_case(index, backend):
    return layer_and_map(MEMORY_SITES[index], batch=1, dtype=torch.float32, window=7, reduction=2, backend=backend)


@KINDS
def test_fused_attention_never_makes_the_scores_forward_or_backward(index):
    assert recorded_training(*memory_case(index, "sdpa")).largest < SCORES[index] / 2


@KINDS
def test_unfused_attention_makes_the_scores(index):
    assert recorded_forward(*memory_case(index, "unfused")).largest == SCORES[index]


@KINDS
def test_fused_attention_saves_no_scores_for_backward(index):
    assert sum(bytes_saved_for_backward(*memory_case(index, "sdpa"))) < FLOAT32_BYTES * SCORES[index] / 2


def test_a_map_of_whole_windows_is_not_padded():
    assert "constant_pad_nd" not in recorded_forward(*layer_and_map(site_of(6, 9, LSA))).operators


@KINDS
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend, index):
    assert_half_precision_is_near(*layer_and_map(site_of(7, 5, index), backend=backend), dtype)


@KINDS
def test_compiles_into_one_graph_forward_and_backward(index):
    assert_compiles_into_one_graph(*layer_and_map(site_of(7, 5, index), dtype=torch.float32))


def test_gsa_exports():
    assert_exports(*layer_and_map(site_of(7, 5, GSA)))
