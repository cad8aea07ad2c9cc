"""Cross-covariance attention: what it does not depend on, where it stays finite, and how it starts."""

from functools import partial

import pytest
import torch
from layer_checks import (
    SITES,
    assert_near,
    gradients,
    random_layer_and_map,
    recorded_forward,
)

from attnbench.mechanism import Site
from attnbench.mechanisms.xca import CrossCovarianceAttention

BACKENDS = ["unfused", "sdpa"]


def layer_and_map(site, **options):
    """A layer whose temperatures are large enough that attention is far from uniform, and a map."""
    layer, x = random_layer_and_map(CrossCovarianceAttention, site, **options)
    torch.nn.init.uniform_(layer.temperature, 2, 6)
    return layer, x


def test_initial_weights_are_xcits():
    torch.manual_seed(0)
    layer = CrossCovarianceAttention(Site(height=2, width=2, dim=192, heads=4))
    assert layer.temperature.tolist() == [1, 1, 1, 1]
    assert not layer.qkv.bias.any()
    assert not layer.proj.bias.any()
    assert [round(linear.weight.std().item(), 3) for linear in (layer.qkv, layer.proj)] == [0.02, 0.02]


def test_the_temperature_is_a_gain_which_the_optimiser_lets_not_decay():
    assert CrossCovarianceAttention(SITES["square"]).temperature.ndim == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_length_of_queries_and_keys_does_not_matter(backend):
    layer, x = layer_and_map(SITES["square"], backend=backend)
    expected = layer(x)
    with torch.no_grad():
        layer.qkv.weight[: 2 * 12] *= 100
        layer.qkv.bias[: 2 * 12] *= 100
    torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_order_of_the_tokens_does_not_matter(backend):
    layer, x = layer_and_map(SITES["odd"], backend=backend)
    torch.testing.assert_close(layer(x.flip(1, 2)), layer(x).flip(1, 2), rtol=1e-11, atol=1e-11)


MEMORY_SITE = Site(height=16, width=16, dim=16, heads=4)
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32)


def test_unfused_scores_are_of_channels_to_channels():
    assert (1, 4, 4, 4) in recorded_forward(*memory_case()).shapes


def test_sdpa_runs_the_fused_kernel():
    assert recorded_forward(*memory_case(backend="sdpa")).operators["_scaled_dot_product_flash_attention_for_cpu"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_near_full_precision_forward_and_backward(dtype, backend):
    layer, x = layer_and_map(SITES["square"], dtype=torch.float32, backend=backend)
    out = layer(x)
    with torch.autocast("cpu", dtype=dtype):
        got = layer(x)
    assert_near(got, out)
    assert_near(gradients(layer, x, got.float())["x"], gradients(layer, x, out)["x"], within=0.05)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_channels_that_are_zero_all_over_the_map_stay_finite(dtype, backend):
    layer, _ = layer_and_map(SITES["square"], dtype=dtype, backend=backend, qkv_bias=False)
    torch.nn.init.zeros_(layer.norm.bias)
    blank = torch.zeros(1, 4, 4, 12, dtype=dtype, requires_grad=True)
    out = layer(blank)
    torch.testing.assert_close(out, layer.proj.bias.expand_as(out))
    assert all(gradient.isfinite().all() for gradient in gradients(layer, blank, out).values())
