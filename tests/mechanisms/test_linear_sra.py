"""Linear spatial-reduction attention against its definition, against timm's layer, and for what it costs."""

from functools import partial
from math import ceil, floor

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
from torch.nn.functional import gelu, layer_norm, linear

from attnbench.mechanism import Macs
from mechanisms.linear_sra import LinearSpatialReductionAttention as LinearSRA

BACKENDS = ["sdpa", "unfused"]
CASES = {
    "whole pools": (6, 9, 3),
    "pools that overlap": (5, 7, 3),
    "wide": (2, 11, 4),
    "smaller than the pooled map": (2, 3, 4),
    "as large as the pooled map": (3, 3, 3),
    "one token": (1, 1, 2),
    "one key": (4, 5, 1),
}
cases = pytest.mark.parametrize(("height", "width", "pool"), CASES.values(), ids=CASES)
layer_and_map = partial(random_layer_and_map, LinearSRA)


def pooled_by_definition(y, pool):
    """The mean of the tokens that each of the pooled map's touches, down and across."""
    height, width = y.shape[:2]
    bounds = [[(floor(i * side / pool), ceil((i + 1) * side / pool)) for i in range(pool)] for side in (height, width)]
    return torch.stack([y[a:b, c:d].flatten(0, 1).mean(0) for a, b in bounds[0] for c, d in bounds[1]])


def by_definition(layer, x, pool):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    dim, conv, norm = (layer.site.dim,), layer.reduce.conv, layer.reduce.norm
    images = []
    for image in x:
        y = layer_norm(image, dim, layer.norm.weight, layer.norm.bias, 1e-6)
        mixed = pooled_by_definition(y, pool) @ conv.weight[:, :, 0, 0].T + conv.bias
        reduced = gelu(layer_norm(mixed, dim, norm.weight, norm.bias, 1e-5))
        k, v = linear(reduced, layer.kv.weight, layer.kv.bias).chunk(2, dim=-1)
        q = linear(y.flatten(0, 1), layer.q.weight, layer.q.bias)
        attended = attention_by_definition(q, k, v, layer.site.heads)
        images.append(attended @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


@cases
@pytest.mark.parametrize("backend", BACKENDS)
def test_output_and_gradients_are_those_of_the_definition(height, width, pool, backend):
    layer, x = layer_and_map(site_of(height, width), pool=pool, backend=backend)
    assert_output_and_gradients(layer, x, by_definition(layer, x, pool))


def timms(layer):
    """Timm's layer, which has no norm before it, with the same weights."""
    theirs = Attention(layer.site.dim, num_heads=layer.site.heads, linear_attn=True, qkv_bias=True).double()
    names = {"sr": "reduce.conv", "norm": "reduce.norm", "q": "q", "kv": "kv", "proj": "proj"}
    return with_weights_of(theirs, layer, names)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(14, 14), (7, 7), (21, 7), (9, 13), (8, 5), (3, 16), (1, 1)], ids=str)
def test_output_is_timms_on_any_map_with_the_same_weights(size, backend):
    layer, x = layer_and_map(site_of(*size), backend=backend)
    expected = timms(layer)(layer.norm(x).flatten(1, 2), size).view(x.shape)
    torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(9, 13), (3, 5), (15, 7)], ids=str)
def test_every_token_is_in_a_key(size, backend):
    layer, x = layer_and_map(site_of(*size), backend=backend)
    assert influence_on(layer, x, 0, 0).abs().amin(-1).gt(0).all()


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(site_of(9, 13), backend="sdpa")
    assert_same_with_its_weights(LinearSRA(fused.site, backend="unfused"), fused, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    assert_images_do_not_see_each_other(*layer_and_map(site_of(9, 13), batch=3, backend=backend))


@cases
@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_form_is_the_machine_count(height, width, pool, backend):
    parts = {"addmm": "projections", "bmm": "attention", "convolution": "other"}
    assert_closed_form(LinearSRA, site_of(height, width), parts, pool=pool, backend=backend)


@cases
def test_both_counters_find_the_closed_form_and_neither_counts_the_pooling(height, width, pool):
    assert_both_counters_find_the_closed_form(LinearSRA, site_of(height, width), pool=pool)


@pytest.mark.parametrize("site", PVT_STAGES.values(), ids=PVT_STAGES)
def test_closed_form_is_the_machine_count_of_timms_layer_in_every_stage(site):
    with torch.device("meta"):
        layer = Attention(site.dim, num_heads=site.heads, linear_attn=True)
        tokens = torch.empty(1, site.tokens, site.dim)
    assert sum(machine_flops(layer, tokens, (site.height, site.width)).values()) == 2 * LinearSRA.macs(site).total


def test_macs_are_those_counted_by_hand():
    """4 x 6 tokens of 8 channels, pooled to 2 x 2: 24 queries, 4 keys."""
    assert LinearSRA.macs(site_of(4, 6), pool=2) == Macs(projections=3584, attention=1536, other=256)


def test_macs_grow_linearly_with_the_map():
    fixed, first, second, fourth = (LinearSRA.macs(site_of(rows, 8)).total for rows in (0, 8, 16, 32))
    assert second - fixed == 2 * (first - fixed)
    assert fourth - fixed == 4 * (first - fixed)


@pytest.mark.parametrize("size", [(56, 56), (9, 13), (3, 3), (1, 1)], ids=str)
def test_every_map_fits_the_layer_as_published(size):
    assert LinearSRA.adaptation(site_of(*size)) is None


@pytest.mark.parametrize("pool", [0, -7])
@pytest.mark.parametrize("asked", [LinearSRA, LinearSRA.why_unsupported, LinearSRA.macs])
def test_a_pooled_map_without_tokens_is_an_error(asked, pool):
    with pytest.raises(ValueError, match=f"pool must be at least 1, got {pool}"):
        asked(site_of(7, 7), pool=pool)


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(LinearSRA, site_of(7, 7), pool=7)
    assert LinearSRA.why_unsupported(site_of(7, 7)) is None


def test_weights_start_as_pvt_v2s():
    torch.manual_seed(0)
    layer = LinearSRA(site_of(8, 8, dim=64))
    assert all(not module.bias.any() for module in (layer.q, layer.kv, layer.proj, layer.reduce.conv))
    for module in (layer.q, layer.kv, layer.proj):
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert layer.reduce.conv.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)


MEMORY_SITE = site_of(32, 32, dim=16, heads=4)
SCORES = 4 * 1024 * 49
MAP = 1024 * 16
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32)


def test_fused_attention_never_makes_the_scores_forward_or_backward():
    assert recorded_training(*memory_case()).largest == MAP


def test_unfused_attention_makes_the_scores():
    assert recorded_forward(*memory_case(backend="unfused")).largest == SCORES


def test_fused_attention_saves_no_scores_for_backward():
    assert sum(bytes_saved_for_backward(*memory_case())) < FLOAT32_BYTES * SCORES / 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    assert_half_precision_is_near(*layer_and_map(site_of(9, 13), backend=backend), dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    assert_compiles_into_one_graph(*layer_and_map(site_of(9, 13), dtype=torch.float32, backend=backend))
