"""Cross-covariance attention against its definition, against timm's layer, and for what it costs."""

from functools import partial

import pytest
import torch
from layer_checks import (
    FLOAT32_BYTES,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_near,
    assert_output_and_gradients,
    assert_same_with_its_weights,
    bytes_saved_for_backward,
    gradients,
    random_layer_and_map,
    recorded_forward,
    recorded_training,
)
from layer_checks import (
    SITES as COMMON_SITES,
)
from timm.models.xcit import XCA as TimmsXCA  # noqa: N811 - a class, spelt as an abbreviation
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs, Site
from mechanisms.xca import CrossCovarianceAttention

BACKENDS = ["unfused", "sdpa"]
SITES = COMMON_SITES | {"one channel a head": Site(height=2, width=3, dim=3, heads=3)}


def layer_and_map(site, **options):
    """A layer whose temperatures are large enough that attention is far from uniform, and a map."""
    layer, x = random_layer_and_map(CrossCovarianceAttention, site, **options)
    torch.nn.init.uniform_(layer.temperature, 2, 6)
    return layer, x


def by_definition(layer, x):
    """Image by image, head by head, channel by channel: the cosine of two channels over the tokens weighs values."""
    heads, d = layer.site.heads, layer.site.head_dim
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        columns = []
        for head in range(heads):
            channels = range(head * d, (head + 1) * d)
            for i in channels:
                cosines = [(q[:, i] * k[:, j]).sum() / (q[:, i].norm() * k[:, j].norm()) for j in channels]
                weights = torch.exp(layer.temperature[head] * torch.stack(cosines))
                columns.append(sum(w * v[:, j] for w, j in zip(weights / weights.sum(), channels, strict=True)))
        images.append(torch.stack(columns, 1) @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_output_and_gradients_are_those_of_the_definition(site, backend, qkv_bias):
    layer, x = layer_and_map(site, backend=backend, qkv_bias=qkv_bias)
    assert_output_and_gradients(layer, x, by_definition(layer, x), gradients_within=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["square", "odd", "one token"])
def test_output_and_gradients_are_timms_with_the_same_weights(name, backend):
    layer, x = layer_and_map(SITES[name], backend=backend)
    timms = TimmsXCA(layer.site.dim, num_heads=layer.site.heads, qkv_bias=True).double()
    weights = {key: value for key, value in layer.state_dict().items() if not key.startswith("norm")}
    timms.load_state_dict(weights | {"temperature": layer.temperature.view(-1, 1, 1)})
    out, expected = layer(x), timms(layer.norm(x).flatten(1, 2)).view(x.shape)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    ours, theirs = (torch.autograd.grad(each.square().sum(), x)[0] for each in (out, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


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


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(SITES["square"], backend="sdpa")
    assert_same_with_its_weights(CrossCovarianceAttention(SITES["square"], backend="unfused"), fused, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    assert_images_do_not_see_each_other(*layer_and_map(SITES["odd"], batch=3, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_closed_form_is_the_machine_count(site, backend):
    parts = {"addmm": "projections", "mm": "projections", "bmm": "attention"}
    assert_closed_form(CrossCovarianceAttention, site, parts, backend=backend)


def test_macs_are_four_n_c_squared_and_two_n_c_d():
    site = Site(height=2, width=3, dim=4, heads=2)
    assert CrossCovarianceAttention.macs(site) == Macs(projections=384, attention=96, other=0)


MEMORY_SITE = Site(height=16, width=16, dim=16, heads=4)
QKV = 3 * 256 * 16
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_larger_than_queries_keys_and_values_is_made_forward_or_backward(backend):
    assert recorded_training(*memory_case(backend=backend)).largest == QKV


def test_unfused_scores_are_of_channels_to_channels():
    assert (1, 4, 4, 4) in recorded_forward(*memory_case()).shapes


def test_sdpa_runs_the_fused_kernel():
    assert recorded_forward(*memory_case(backend="sdpa")).operators["_scaled_dot_product_flash_attention_for_cpu"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_saved_for_backward_is_linear_in_the_tokens(backend):
    assert sum(bytes_saved_for_backward(*memory_case(backend=backend))) < 4 * FLOAT32_BYTES * QKV


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    assert_half_precision_is_near(*layer_and_map(SITES["square"], backend=backend), dtype)


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    assert_compiles_into_one_graph(*layer_and_map(SITES["odd"], dtype=torch.float32, backend=backend))


def test_any_map_is_taken_as_it_is():
    assert CrossCovarianceAttention.adaptation(SITES["odd"]) is None


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(CrossCovarianceAttention, SITES["odd"])
