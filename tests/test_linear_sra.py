"""Linear spatial-reduction attention against its definition, against timm's layer, and for what it costs."""

from dataclasses import replace
from math import ceil, floor

import pytest
import torch
from recording import Recording, saving_into
from timm.models.pvt_v2 import Attention
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import gelu, layer_norm, linear
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanism import Macs, Site
from attnbench.probes.flops import count
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
PVT_V2_B2 = [
    Site(height=56, width=56, dim=64, heads=1, stride=4),
    Site(height=28, width=28, dim=128, heads=2, stride=8),
    Site(height=14, width=14, dim=320, heads=5, stride=16),
    Site(height=7, width=7, dim=512, heads=8, stride=32),
]
"""The four stages of PVTv2-B2-Li at 224 pixels."""


def site_of(height, width, *, dim=8, heads=2):
    return Site(height=height, width=width, dim=dim, heads=heads)


def layer_and_map(site, *, batch=2, dtype=torch.float64, **options):
    """A layer whose weights are large enough that attention is far from uniform, and a map."""
    torch.manual_seed(0)
    layer = LinearSRA(site, **options).to(dtype)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer, torch.randn(batch, site.height, site.width, site.dim, dtype=dtype, requires_grad=True)


def gradients(layer, x, out):
    torch.manual_seed(1)
    return torch.autograd.grad(out, [x, *layer.parameters()], torch.randn_like(out))


def pooled_by_definition(y, pool):
    """The mean of the tokens that each of the pooled map's touches, down and across."""
    height, width = y.shape[:2]
    bounds = [[(floor(i * side / pool), ceil((i + 1) * side / pool)) for i in range(pool)] for side in (height, width)]
    return torch.stack([y[a:b, c:d].flatten(0, 1).mean(0) for a, b in bounds[0] for c, d in bounds[1]])


def by_definition(layer, x, pool):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    heads, d, dim = layer.site.heads, layer.site.head_dim, (layer.site.dim,)
    conv, norm = layer.reduce.conv, layer.reduce.norm
    images = []
    for image in x:
        y = layer_norm(image, dim, layer.norm.weight, layer.norm.bias, 1e-6)
        mixed = pooled_by_definition(y, pool) @ conv.weight[:, :, 0, 0].T + conv.bias
        reduced = gelu(layer_norm(mixed, dim, norm.weight, norm.bias, 1e-5))
        k, v = linear(reduced, layer.kv.weight, layer.kv.bias).chunk(2, dim=-1)
        rows = []
        for query in linear(y.flatten(0, 1), layer.q.weight, layer.q.bias):
            parts = []
            for head in range(heads):
                channels = slice(head * d, (head + 1) * d)
                weights = torch.exp(k[:, channels] @ query[channels] / d**0.5)
                parts.append((weights / weights.sum()) @ v[:, channels])
            rows.append(torch.cat(parts))
        images.append(torch.stack(rows) @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


@cases
@pytest.mark.parametrize("backend", BACKENDS)
def test_output_and_gradients_are_those_of_the_definition(height, width, pool, backend):
    layer, x = layer_and_map(site_of(height, width), pool=pool, backend=backend)
    out, expected = layer(x), by_definition(layer, x, pool)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients(layer, x, out), gradients(layer, x, expected), rtol=1e-8, atol=1e-9)


def timms(layer):
    """Timm's layer, which has no norm before it, with the same weights."""
    theirs = Attention(layer.site.dim, num_heads=layer.site.heads, linear_attn=True, qkv_bias=True).double()
    names = {"sr": "reduce.conv", "norm": "reduce.norm", "q": "q", "kv": "kv", "proj": "proj"}
    for theirs_name, name in names.items():
        theirs.get_submodule(theirs_name).load_state_dict(layer.get_submodule(name).state_dict())
    return theirs


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
    (grad,) = torch.autograd.grad(layer(x)[0, 0, 0].sum(), x)
    assert grad[0].abs().amin(-1).gt(0).all()


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(site_of(9, 13), backend="sdpa")
    unfused = LinearSRA(fused.site, backend="unfused").double()
    unfused.load_state_dict(fused.state_dict())
    torch.testing.assert_close(fused(x), unfused(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    layer, x = layer_and_map(site_of(9, 13), batch=3, backend=backend)
    torch.testing.assert_close(layer(x), torch.cat([layer(image[None]) for image in x]), rtol=1e-12, atol=1e-12)
    (grad,) = torch.autograd.grad(layer(x)[1].sum(), x)
    assert grad[1].any()
    assert not grad[[0, 2]].any()


def machine_flops(module, *inputs):
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(*inputs)
    return counter.get_flop_counts()["Global"]


@cases
@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_form_is_the_machine_count(height, width, pool, backend):
    site = site_of(height, width)
    with torch.device("meta"):
        layer, x = LinearSRA(site, pool=pool, backend=backend), torch.empty(1, height, width, site.dim)
    macs = LinearSRA.macs(site, pool=pool, backend=backend)
    assert machine_flops(layer, x) == {
        torch.ops.aten.addmm: 2 * macs.projections,
        torch.ops.aten.bmm: 2 * macs.attention,
        torch.ops.aten.convolution: 2 * macs.other,
    }


@cases
def test_both_counters_find_the_closed_form_and_neither_counts_the_pooling(height, width, pool):
    site = site_of(height, width)
    counts = count(lambda: (LinearSRA(site, pool=pool), (torch.empty(2, height, width, site.dim),)))
    macs = LinearSRA.macs(site, pool=pool)
    assert (counts.macs_torch, counts.macs_fvcore, counts.macs_attention) == (macs.total, macs.total, macs.attention)
    assert (counts.uncounted, counts.remark) == ((), "")


@pytest.mark.parametrize("site", PVT_V2_B2, ids=["stage 1", "stage 2", "stage 3", "stage 4"])
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
    site = site_of(7, 7)
    assert LinearSRA.why_unsupported(replace(site, heads=3), pool=7) == "dim 8 does not divide into 3 heads"
    assert LinearSRA.why_unsupported(site) is None


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
FLOAT32_BYTES = 4


def test_fused_attention_never_makes_the_scores_forward_or_backward():
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32)
    with Recording() as recording:
        layer(x).sum().backward()
    assert recording.largest == MAP


def test_unfused_attention_makes_the_scores():
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32, backend="unfused")
    with Recording() as recording:
        layer(x)
    assert recording.largest == SCORES


def test_fused_attention_saves_no_scores_for_backward():
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32)
    storages = {}
    with saving_into(storages):
        layer(x)
    assert sum(storages.values()) < FLOAT32_BYTES * SCORES / 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    layer, x = layer_and_map(site_of(9, 13), backend=backend)
    expected = layer(x)
    got = layer.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert (got - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    layer, x = layer_and_map(site_of(9, 13), dtype=torch.float32, backend=backend)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(layer, x, compiled(x)), gradients(layer, x, layer(x)), rtol=1e-4, atol=1e-5)
