"""ReLU linear attention against its definition, against timm's layer, and for what it costs."""

from functools import partial

import pytest
import torch
from layer_checks import (
    FLOAT32_BYTES,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_near,
    assert_output_and_gradients,
    bytes_saved_for_backward,
    gradients,
    random_layer_and_map,
    recorded_training,
)
from layer_checks import (
    SITES as COMMON_SITES,
)
from timm.models.efficientvit_mit import LiteMLA
from torch import nn
from torch.nn.functional import layer_norm

from attnbench.mechanism import Macs, Site
from mechanisms.linear import ReLULinearAttention
from mechanisms.linear.attention import EPSILON, linear_attention

SITES = COMMON_SITES | {"one channel a head": Site(height=2, width=3, dim=3, heads=3)}
layer_and_map = partial(random_layer_and_map, ReLULinearAttention)


def aggregated_by_definition(layer, qkv):
    """The tokens around each token, weighted channel by channel, then mixed within each head's Q, K or V."""
    depthwise, pointwise = layer.aggregate.depthwise.weight, layer.aggregate.pointwise.weight
    height, width, _ = qkv.shape
    radius, d = depthwise.shape[-1] // 2, layer.site.head_dim
    rows = []
    for i in range(height):
        for j in range(width):
            around = torch.zeros_like(qkv[0, 0])
            for row in range(max(0, i - radius), min(height, i + radius + 1)):
                for column in range(max(0, j - radius), min(width, j + radius + 1)):
                    around = around + depthwise[:, 0, row - i + radius, column - j + radius] * qkv[row, column]
            parts = [
                pointwise[first : first + d, :, 0, 0] @ around[first : first + d] for first in range(0, len(around), d)
            ]
            rows.append(torch.cat(parts))
    return torch.stack(rows).view(qkv.shape)


def attended_by_definition(tokens, d):
    """Head by head and query by query: the mean of all values, weighted by ReLU(q) . ReLU(k)."""
    rows = []
    for query in tokens:
        parts = []
        for first in range(0, tokens.shape[1], 3 * d):
            q, k, v = query[first : first + d], tokens[:, first + d : first + 2 * d], tokens[:, first + 2 * d :][:, :d]
            weights = torch.stack([(q.relu() * key.relu()).sum() for key in k])
            parts.append((weights[:, None] * v).sum(0) / (weights.sum() + EPSILON))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def by_definition(layer, x):
    """N x N weights, image by image and scale by scale."""
    images = []
    for image in x:
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        qkv = y @ layer.qkv.weight.T
        scales = [qkv] if layer.aggregate is None else [qkv, aggregated_by_definition(layer, qkv)]
        attended = [attended_by_definition(scale.flatten(0, 1), layer.site.head_dim) for scale in scales]
        images.append(torch.cat(attended, 1) @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


@pytest.mark.parametrize("aggregation", [0, 1, 3, 5])
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_output_and_gradients_are_those_of_the_definition(site, aggregation):
    layer, x = layer_and_map(site, aggregation=aggregation)
    assert_output_and_gradients(layer, x, by_definition(layer, x), within=1e-10, gradients_within=1e-7)


def timms_weights(layer):
    """Our weights under timm's names; its 1 x 1 convolutions are our linear maps."""
    state = {
        "qkv.conv.weight": layer.qkv.weight[..., None, None],
        "proj.conv.weight": layer.proj.weight[..., None, None],
    }
    if layer.aggregate is not None:
        state["aggreg.0.0.weight"] = layer.aggregate.depthwise.weight
        state["aggreg.0.1.weight"] = layer.aggregate.pointwise.weight
    return state


def timms_output(timms, layer, x):
    return timms(layer.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize("aggregation", [0, 3, 5])
@pytest.mark.parametrize("name", ["square", "odd", "one token"])
def test_output_and_gradients_are_timms_with_the_same_weights_and_no_batch_norm(name, aggregation):
    layer, x = layer_and_map(SITES[name], dtype=torch.float32, aggregation=aggregation)
    site, scales = layer.site, (aggregation,) if aggregation else ()
    timms = LiteMLA(
        site.dim,
        site.dim,
        site.heads,
        dim=site.head_dim,
        use_bias=(False, True),
        norm_layer=(None, None),
        scales=scales,
        eps=EPSILON,
    )
    timms.load_state_dict(timms_weights(layer) | {"proj.conv.bias": layer.proj.bias})
    out, expected = layer(x), timms_output(timms, layer, x)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    ours, theirs = (torch.autograd.grad(each.square().sum(), x)[0] for each in (out, expected))
    assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


def test_output_is_timms_with_its_batch_norm_folded_into_the_projection():
    layer, x = layer_and_map(SITES["square"], dtype=torch.float32)
    timms = LiteMLA(12, 12, 3, dim=4, eps=EPSILON).eval()
    timms.load_state_dict(timms_weights(layer), strict=False)
    norm = timms.proj.norm
    assert isinstance(norm, nn.BatchNorm2d)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    with torch.no_grad():
        layer.proj.weight *= scale[:, None]
        layer.proj.bias.copy_(norm.bias - norm.running_mean * scale)
    torch.testing.assert_close(layer(x), timms_output(timms, layer, x), rtol=1e-4, atol=1e-5)


def test_initial_weights_are_those_of_the_other_mechanisms():
    torch.manual_seed(0)
    layer = ReLULinearAttention(Site(height=2, width=2, dim=192, heads=6))
    weights = [layer.qkv.weight, layer.aggregate.depthwise.weight, layer.aggregate.pointwise.weight, layer.proj.weight]
    assert [round(weight.std().item(), 3) for weight in weights] == [0.02] * 4
    assert not layer.proj.bias.any()


@pytest.mark.parametrize("training", [True, False])
def test_images_of_a_batch_do_not_see_each_other_in_training_either(training):
    layer, x = layer_and_map(SITES["odd"], batch=3)
    layer.train(training)
    assert_images_do_not_see_each_other(layer, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_token_whose_queries_are_all_negative_attends_to_nothing(dtype):
    layer, x = layer_and_map(SITES["odd"], dtype=dtype, aggregation=0)
    with torch.no_grad():
        layer.norm.weight.zero_()
        layer.norm.bias.fill_(1)
        layer.qkv.weight[:8] = -1
    out = layer(x)
    torch.testing.assert_close(out, layer.proj.bias.expand_as(out))
    assert all(gradient.isfinite().all() for gradient in gradients(layer, x, out).values())


@pytest.mark.parametrize("aggregation", [0, 1, 5])
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_closed_form_is_the_machine_count(site, aggregation):
    parts = {"mm": "projections", "addmm": "projections", "bmm": "attention", "convolution": "other"}
    assert_closed_form(ReLULinearAttention, site, parts, aggregation=aggregation)


def test_macs_of_two_scales_and_of_one():
    site = Site(height=2, width=3, dim=4, heads=2)
    assert ReLULinearAttention.macs(site) == Macs(projections=480, attention=240, other=1944)
    assert ReLULinearAttention.macs(site, aggregation=0) == Macs(projections=384, attention=120, other=0)


def test_macs_are_linear_in_the_tokens():
    small, large = (ReLULinearAttention.macs(Site(height=s, width=s, dim=96, heads=3)).total for s in (14, 140))
    assert large == 100 * small


MEMORY_SITE = Site(height=16, width=16, dim=16, heads=4)
QKV = 3 * 256 * 16
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32)


def test_no_scores_of_tokens_to_tokens_are_made_forward_or_backward():
    assert recorded_training(*memory_case()).largest == QKV


def test_what_is_saved_for_backward_is_linear_in_the_tokens():
    assert sum(bytes_saved_for_backward(*memory_case())) < 8 * FLOAT32_BYTES * QKV


LARGE_SITE = Site(height=64, width=64, dim=16, heads=2)
FLOAT16_MAX = 65504


def layer_with_large_sums(dtype):
    """A layer whose sums over the map leave the range of float16, while its result does not."""
    layer, x = layer_and_map(LARGE_SITE, batch=1, dtype=dtype, aggregation=0)
    with torch.no_grad():
        layer.qkv.weight *= 10
        layer.proj.weight /= 10
        q, k, _ = layer.qkv(layer.norm(x)).unflatten(-1, (2, 3, 8)).relu().unbind(-2)
        assert (q * k.sum((1, 2), keepdim=True)).sum(-1).max() > 4 * FLOAT16_MAX
    return layer, x


def assert_output_is_near_in_half_precision(layer, x, dtype):
    """Of gradients nothing is said: they jump where a ReLU opens or closes by rounding."""
    expected = layer(x)
    got = layer.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert_near(got, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_over_a_large_map_stay_in_range_in_half_precision(dtype):
    layer, x = layer_with_large_sums(torch.float64)
    assert_output_is_near_in_half_precision(layer, x, dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_over_a_large_map_stay_in_range_under_autocast(dtype):
    layer, x = layer_with_large_sums(torch.float32)
    expected = layer(x)
    with torch.autocast("cpu", dtype=dtype):
        got = layer(x)
    assert_near(got, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64_at_two_scales(dtype):
    wide_heads = Site(height=5, width=7, dim=32, heads=2)  # some query of each head is positive, and stays so
    assert_output_is_near_in_half_precision(*layer_and_map(wide_heads), dtype)


def test_the_result_jumps_where_the_last_positive_query_of_a_head_turns_negative():
    qkv = torch.ones(1, 4, 1, 3, 2, dtype=torch.float64)
    qkv[0, 0, 0, 0] = torch.tensor([1e-9, -1])
    qkv[0, 1, 0, 0] = torch.tensor([-1e-9, -1])
    assert linear_attention(qkv)[0].tolist() == [pytest.approx([1, 1], abs=1e-5), [0, 0], *[pytest.approx([1, 1])] * 2]


@pytest.mark.parametrize("aggregation", [0, 5])
def test_compiles_into_one_graph_forward_and_backward(aggregation):
    layer, x = layer_and_map(SITES["odd"], dtype=torch.float32, aggregation=aggregation)
    assert_compiles_into_one_graph(layer, x, atol=1e-4)


@pytest.mark.parametrize("aggregation", [2, 4, -1, -5])
def test_an_aggregation_that_has_no_centre_is_an_error(aggregation):
    said = f"aggregation must be odd, or 0 for one scale, got {aggregation}"
    for refuse in (ReLULinearAttention, ReLULinearAttention.why_unsupported, ReLULinearAttention.macs):
        with pytest.raises(ValueError, match=said):
            refuse(SITES["square"], aggregation=aggregation)


def test_any_map_is_taken_as_it_is():
    assert ReLULinearAttention.adaptation(SITES["one token"]) is None


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(ReLULinearAttention, SITES["odd"])
    assert ReLULinearAttention.why_unsupported(SITES["odd"], aggregation=0) is None
