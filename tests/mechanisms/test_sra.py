"""Spatial-reduction attention against its definition, against timm's layer, and for what it costs."""

from functools import partial

import pytest
import torch
from layer_checks import (
    FLOAT32_BYTES,
    PVT_STAGES,
    assert_both_counters_find_the_closed_form,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_output_and_gradients,
    assert_same_with_its_weights,
    attention_by_definition,
    bytes_saved_for_backward,
    influence_on,
    machine_flops,
    random_layer_and_map,
    recorded_forward,
    recorded_training,
    site_of,
    with_weights_of,
)
from timm.models.pvt_v2 import Attention
from torch.nn.functional import layer_norm, linear, pad

from attnbench.mechanism import Macs
from mechanisms.sra import SpatialReductionAttention as Sra

BACKENDS = ["sdpa", "unfused"]
CASES = {
    "whole patches": (4, 6, 2),
    "odd": (5, 7, 2),
    "patches of 3": (7, 6, 3),
    "one row": (1, 9, 4),
    "smaller than a patch": (2, 3, 4),
    "one token": (1, 1, 8),
    "not reduced": (3, 5, 1),
}
cases = pytest.mark.parametrize(("height", "width", "reduction"), CASES.values(), ids=CASES)
layer_and_map = partial(random_layer_and_map, Sra)


def reduced_by_definition(layer, y, side):
    """The sum, over the tokens that there are in each patch, of a matrix for the token's place times the token."""
    if side == 1:
        return y.flatten(0, 1)
    conv, norm = layer.reduce.conv, layer.reduce.norm
    rows = []
    for top in range(0, y.shape[0], side):
        for left in range(0, y.shape[1], side):
            total = conv.bias
            for i, row in enumerate(y[top : top + side]):
                for j, token in enumerate(row[left : left + side]):
                    total = total + conv.weight[:, :, i, j] @ token
            rows.append(layer_norm(total, norm.normalized_shape, norm.weight, norm.bias, 1e-5))
    return torch.stack(rows)


def by_definition(layer, x, side):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    images = []
    for image in x:
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        reduced = reduced_by_definition(layer, y, side)
        k, v = linear(reduced, layer.kv.weight, layer.kv.bias).chunk(2, dim=-1)
        q = linear(y.flatten(0, 1), layer.q.weight, layer.q.bias)
        attended = attention_by_definition(q, k, v, layer.site.heads)
        images.append(attended @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


@cases
@pytest.mark.parametrize("backend", BACKENDS)
def test_output_and_gradients_are_those_of_the_definition(height, width, reduction, backend):
    layer, x = layer_and_map(site_of(height, width), reduction=reduction, backend=backend)
    assert_output_and_gradients(layer, x, by_definition(layer, x, reduction))


def timms(layer, reduction):
    """Timm's layer, which has no norm before it, with the same weights."""
    theirs = Attention(layer.site.dim, num_heads=layer.site.heads, sr_ratio=reduction, qkv_bias=True).double()
    names = {"q": "q", "kv": "kv", "proj": "proj"}
    if reduction > 1:
        names |= {"sr": "reduce.conv", "norm": "reduce.norm"}
    return with_weights_of(theirs, layer, names)


def by_timm(layer, y, reduction):
    return timms(layer, reduction)(y.flatten(1, 2), y.shape[1:3]).view(y.shape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("height", "width", "reduction"), [(8, 8, 8), (8, 12, 4), (6, 4, 2), (7, 5, 1), (16, 8, 8)], ids=str
)
def test_output_is_timms_on_whole_patches_with_the_same_weights(height, width, reduction, backend):
    layer, x = layer_and_map(site_of(height, width), reduction=reduction, backend=backend)
    torch.testing.assert_close(layer(x), by_timm(layer, layer.norm(x), reduction), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [(7, 9), (4, 5), (2, 3), (1, 1), (5, 13)], ids=str)
def test_output_is_timms_on_the_map_padded_with_zeros_after_the_norm(size):
    (height, width), side = size, 4
    layer, x = layer_and_map(site_of(height, width), reduction=side)
    padded = pad(layer.norm(x), (0, 0, 0, -width % side, 0, -height % side))
    expected = by_timm(layer, padded, side)[:, :height, :width]
    torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)


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
    torch.testing.assert_close(layer(x), by_definition(layer, x, reduction), rtol=1e-11, atol=1e-11)


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(site_of(7, 5), backend="sdpa")
    assert_same_with_its_weights(Sra(fused.site, backend="unfused"), fused, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    assert_images_do_not_see_each_other(*layer_and_map(site_of(7, 5), batch=3, backend=backend))


@cases
@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_form_is_the_machine_count(height, width, reduction, backend):
    parts = {"addmm": ("projections", "other"), "bmm": "attention"}
    assert_closed_form(Sra, site_of(height, width), parts, reduction=reduction, backend=backend)


@cases
def test_both_counters_find_the_closed_form_and_leave_nothing_uncounted(height, width, reduction):
    assert_both_counters_find_the_closed_form(Sra, site_of(height, width), reduction=reduction)


@pytest.mark.parametrize("site", PVT_STAGES.values(), ids=PVT_STAGES)
def test_closed_form_is_the_machine_count_of_timms_layer_in_every_stage(site):
    with torch.device("meta"):
        layer = Attention(site.dim, num_heads=site.heads, sr_ratio=32 // site.stride)
        tokens = torch.empty(1, site.tokens, site.dim)
    assert sum(machine_flops(layer, tokens, (site.height, site.width)).values()) == 2 * Sra.macs(site).total


def test_macs_are_those_counted_by_hand():
    """4 x 6 tokens of 8 channels, patches of 2: 24 queries, 6 keys."""
    assert Sra.macs(site_of(4, 6)) == Macs(projections=3840, attention=2304, other=1536)


def test_convolution_costs_the_same_whatever_the_reduction():
    assert {Sra.macs(site_of(16, 16), reduction=side).other for side in (2, 4, 8, 16)} == {256 * 8**2}


@pytest.mark.parametrize(
    ("site", "options", "said"),
    [
        *[(site, {}, None) for site in PVT_STAGES.values()],
        (site_of(7, 5, stride=32), {}, None),
        (site_of(9, 5), {}, "padded 9x5 to 10x6 (reduction 2)"),
        (site_of(57, 56, stride=4), {}, "padded 57x56 to 64x56 (reduction 8)"),
        (site_of(1, 1, stride=4), {}, "padded 1x1 to 8x8 (reduction 8)"),
        (site_of(9, 6), {"reduction": 3, "backend": "unfused"}, None),
        (site_of(9, 6), {"reduction": 4}, "padded 9x6 to 12x8 (reduction 4)"),
    ],
)
def test_adaptation_says_what_the_map_is_padded_to(site, options, said):
    assert Sra.adaptation(site, **options) == said


@pytest.mark.parametrize("reduction", [0, -2])
@pytest.mark.parametrize("asked", [Sra, Sra.why_unsupported, Sra.macs, Sra.adaptation])
def test_a_reduction_that_no_map_could_take_is_an_error(asked, reduction):
    with pytest.raises(ValueError, match=f"reduction must be at least 1 or 'auto', got {reduction}"):
        asked(site_of(4, 4), reduction=reduction)


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(Sra, site_of(7, 7), reduction=2)
    assert Sra.why_unsupported(site_of(7, 7)) is None


def test_weights_start_as_pvts():
    torch.manual_seed(0)
    layer = Sra(site_of(8, 8, dim=64))
    assert all(not module.bias.any() for module in (layer.q, layer.kv, layer.proj))
    for module in (layer.q, layer.kv, layer.proj):
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
    reach = (64 * 2 * 2) ** -0.5
    assert reach * 0.99 < layer.reduce.conv.weight.abs().max() <= reach
    assert layer.reduce.conv.weight.std().item() == pytest.approx(reach / 3**0.5, rel=0.05)


MEMORY_SITE = site_of(32, 32, dim=16, heads=4)
SCORES = 4 * 1024 * 256
MAP = 1024 * 16
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32)


def test_fused_attention_never_makes_the_scores_forward_or_backward():
    assert recorded_training(*memory_case()).largest == MAP


def test_unfused_attention_makes_the_scores():
    assert recorded_forward(*memory_case(backend="unfused")).largest == SCORES


def test_fused_attention_saves_no_scores_for_backward():
    assert sum(bytes_saved_for_backward(*memory_case())) < FLOAT32_BYTES * SCORES / 4


def test_a_map_of_whole_patches_is_not_copied_for_padding():
    operators = recorded_forward(*layer_and_map(site_of(8, 8), dtype=torch.float32)).operators
    assert "constant_pad_nd" not in operators
    assert operators["clone"] == 2  # the patches, side by side, and the weight in their order


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    assert_half_precision_is_near(*layer_and_map(site_of(7, 5), backend=backend), dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    assert_compiles_into_one_graph(*layer_and_map(site_of(7, 5), dtype=torch.float32, backend=backend))
