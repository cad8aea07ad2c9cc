"""ReLU linear attention: timm's batch norm, half precision, and where no query is positive."""

from functools import partial

import pytest
import torch
from layer_checks import (
    SITES,
    assert_near,
    gradients,
    random_layer_and_map,
)
from mechanism_cases.linear import timms_output, timms_weights
from timm.models.efficientvit_mit import LiteMLA
from torch import nn

from attnbench.mechanism import Site
from attnbench.mechanisms.linear import ReLULinearAttention
from attnbench.mechanisms.linear.attention import EPSILON, linear_attention

layer_and_map = partial(random_layer_and_map, ReLULinearAttention)


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


def test_macs_are_linear_in_the_tokens():
    small, large = (ReLULinearAttention.macs(Site(height=s, width=s, dim=96, heads=3)).total for s in (14, 140))
    assert large == 100 * small


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
