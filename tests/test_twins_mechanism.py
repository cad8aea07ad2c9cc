"""Twins' attention against its definition, timm's layers and published totals, and for what it costs."""

import pytest
import torch
from recording import Recording, saving_into
from timm.models.twins import GlobalSubSampleAttn, LocallyGroupedAttn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import layer_norm, linear
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanism import Site
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


def site_of(height, width, index, *, dim=8, heads=2, stride=16):
    return Site(height=height, width=width, dim=dim, heads=heads, layer=index, stride=stride)


def layer_and_map(site, *, batch=2, dtype=torch.float64, **options):
    """A layer whose weights are large enough that attention is far from uniform, and a map."""
    torch.manual_seed(0)
    layer = TwinsAttention(site, **{**SIDES, **options}).to(dtype)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer, torch.randn(batch, site.height, site.width, site.dim, dtype=dtype, requires_grad=True)


def gradients(layer, x, out):
    torch.manual_seed(1)
    return torch.autograd.grad(out, [x, *layer.parameters()], torch.randn_like(out))


def attention_by_definition(q, keys, values, heads):
    """Head by head, what one query of an image gathers from a list of keys and values."""
    parts = []
    for query, key, value in zip(q.chunk(heads), keys.chunk(heads, -1), values.chunk(heads, -1), strict=True):
        weights = torch.exp(key @ query / len(query) ** 0.5)
        parts.append((weights / weights.sum()) @ value)
    return torch.cat(parts)


def in_window(layer, y, i, j, side):
    """What token (i, j) gathers: places of its window beyond the map hold the biases of keys and values."""
    project = layer.gather.qkv
    top, left = i // side * side, j // side * side
    places = [(row, column) for row in range(top, top + side) for column in range(left, left + side)]
    inside = [y[row, column] if row < len(y) and column < y.shape[1] else 0 * y[0, 0] for row, column in places]
    _, keys, values = project(torch.stack(inside)).chunk(3, dim=-1)
    return attention_by_definition(project(y[i, j]).chunk(3)[0], keys, values, layer.site.heads)


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
        tokens = [(i, j) for i in range(layer.site.height) for j in range(layer.site.width)]
        if layer.site.layer % 2 == LSA:
            rows = [in_window(layer, y, i, j, window) for i, j in tokens]
        else:
            keys, values = layer.gather.kv(reduced_by_definition(layer, y, reduction)).chunk(2, dim=-1)
            rows = [attention_by_definition(layer.gather.q(y[i, j]), keys, values, layer.site.heads) for i, j in tokens]
        images.append(linear(torch.stack(rows), layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


@pytest.mark.parametrize("backend", BACKENDS)
@KINDS
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_output_and_gradients_are_those_of_the_definition(size, index, backend):
    layer, x = layer_and_map(site_of(*size, index), backend=backend)
    out, expected = layer(x), by_definition(layer, x, **SIDES)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients(layer, x, out), gradients(layer, x, expected), rtol=1e-8, atol=1e-9)


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
    timms.qkv.load_state_dict(layer.gather.qkv.state_dict())
    timms.proj.load_state_dict(layer.proj.state_dict())
    torch.testing.assert_close(layer(x), timms_output(layer, x, timms), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_gsa_is_timms_with_the_same_weights_on_whole_patches(reduction, backend):
    layer, x = layer_and_map(site_of(8, 12, GSA), reduction=reduction, backend=backend)
    timms = GlobalSubSampleAttn(8, num_heads=2, sr_ratio=reduction).double()
    pairs = [(timms.q, layer.gather.q), (timms.kv, layer.gather.kv), (timms.proj, layer.proj)]
    if reduction > 1:
        pairs += [(timms.sr, layer.gather.reduce.conv), (timms.norm, layer.gather.reduce.norm)]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(layer(x), timms_output(layer, x, timms), rtol=1e-11, atol=1e-11)


@KINDS
def test_backends_have_the_same_parameters_and_output(index):
    fused, x = layer_and_map(site_of(7, 5, index), backend="sdpa")
    unfused = TwinsAttention(fused.site, **SIDES, backend="unfused").double()
    unfused.load_state_dict(fused.state_dict())
    torch.testing.assert_close(fused(x), unfused(x), rtol=1e-12, atol=1e-12)


@KINDS
def test_images_of_a_batch_do_not_see_each_other(index):
    layer, x = layer_and_map(site_of(7, 5, index), batch=3)
    torch.testing.assert_close(layer(x), torch.cat([layer(image[None]) for image in x]), rtol=1e-12, atol=1e-12)
    (grad,) = torch.autograd.grad(layer(x)[1].sum(), x)
    assert grad[1].any()
    assert not grad[[0, 2]].any()


@pytest.mark.parametrize("index", range(4))
def test_layers_alternate_between_a_window_and_the_whole_map(index):
    layer, x = layer_and_map(site_of(7, 8, index))
    (grad,) = torch.autograd.grad(layer(x)[0, 0, 0].sum(), x)
    reached = grad[0].any(-1)
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
    site = site_of(*size, index)
    with torch.device("meta"):
        layer = TwinsAttention(site, **SIDES, backend=backend)
        x = torch.empty(1, site.height, site.width, site.dim)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        layer(x)
    flops = counter.get_flop_counts()["Global"]
    macs = TwinsAttention.macs(site, **SIDES, backend=backend)
    counted = {torch.ops.aten.addmm: 2 * macs.projections, torch.ops.aten.bmm: 2 * macs.attention}
    assert flops == counted | ({torch.ops.aten.convolution: 2 * macs.other} if index == GSA else {})


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
    with pytest.raises(ValueError, match=f"{option} must be at least 1.*got 0"):
        TwinsAttention.why_unsupported(site_of(7, 7, index), **{option: 0})


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    site = site_of(7, 7, GSA, dim=10, heads=3)
    assert TwinsAttention.why_unsupported(site, window=7) == "dim 10 does not divide into 3 heads"
    assert TwinsAttention.why_unsupported(site_of(1, 1, GSA)) is None


# Memory. Narrow heads make the scores of both kinds more than twice as many as anything else of the layer.
MEMORY_SITES = {LSA: site_of(28, 28, LSA, dim=8, heads=4), GSA: site_of(16, 16, GSA, dim=8, heads=4)}
SCORES = {LSA: 4 * 28 * 28 * 49, GSA: 4 * 256 * 64}
FLOAT32_BYTES = 4


def memory_case(index, backend):
    return layer_and_map(MEMORY_SITES[index], batch=1, dtype=torch.float32, window=7, reduction=2, backend=backend)


@KINDS
def test_fused_attention_never_makes_the_scores_forward_or_backward(index):
    layer, x = memory_case(index, "sdpa")
    with Recording() as recording:
        layer(x).sum().backward()
    assert recording.largest < SCORES[index] / 2


@KINDS
def test_unfused_attention_makes_the_scores(index):
    layer, x = memory_case(index, "unfused")
    with Recording() as recording:
        layer(x)
    assert recording.largest == SCORES[index]


@KINDS
def test_fused_attention_saves_no_scores_for_backward(index):
    layer, x = memory_case(index, "sdpa")
    storages = {}
    with saving_into(storages):
        layer(x)
    assert sum(storages.values()) < FLOAT32_BYTES * SCORES[index] / 2


def test_a_map_of_whole_windows_is_not_padded():
    layer, x = layer_and_map(site_of(6, 9, LSA))
    with Recording() as recording:
        layer(x)
    assert "constant_pad_nd" not in recording.operators


@KINDS
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend, index):
    layer, x = layer_and_map(site_of(7, 5, index), backend=backend)
    expected = layer(x)
    got = layer.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert (got - expected).norm() < 0.03 * expected.norm()


@KINDS
def test_compiles_into_one_graph_forward_and_backward(index):
    layer, x = layer_and_map(site_of(7, 5, index), dtype=torch.float32)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(layer, x, compiled(x)), gradients(layer, x, layer(x)), rtol=1e-4, atol=1e-5)


def test_gsa_exports():
    layer, x = layer_and_map(site_of(7, 5, GSA))
    exported = torch.export.export(layer, (x.detach(),)).module()
    torch.testing.assert_close(exported(x.detach()), layer(x), rtol=1e-12, atol=1e-12)
