"""MHSA against its definition, against timm's layer, and for what it costs."""

from functools import partial

import pytest
import torch
from layer_checks import (
    FLOAT32_BYTES,
    SITES,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_output_and_gradients,
    assert_same_with_its_weights,
    attention_by_definition,
    bytes_saved_for_backward,
    random_layer_and_map,
    recorded_forward,
    recorded_training,
)
from timm.models.vision_transformer import Attention
from torch.nn.functional import layer_norm

from attnbench.mechanism import Macs, Site
from mechanisms.mhsa import MHSA

BACKENDS = ["sdpa", "unfused"]
layer_and_map = partial(random_layer_and_map, MHSA)


def by_definition(layer, x):
    """softmax(q k / sqrt d) v, image by image, head by head, query by query."""
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = torch.nn.functional.linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        attended = attention_by_definition(q, k, v, layer.site.heads)
        images.append(attended @ layer.proj.weight.T + layer.proj.bias)
    return torch.stack(images).view(x.shape)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_output_and_gradients_are_those_of_the_definition(site, backend, qkv_bias):
    layer, x = layer_and_map(site, backend=backend, qkv_bias=qkv_bias)
    assert_output_and_gradients(layer, x, by_definition(layer, x), gradients_within=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_output_is_timms_with_the_same_weights(backend):
    layer, x = layer_and_map(SITES["odd"], backend=backend)
    timms = Attention(8, num_heads=1, qkv_bias=True).double()
    timms.load_state_dict({name: value for name, value in layer.state_dict().items() if not name.startswith("norm")})
    expected = timms(layer.norm(x).flatten(1, 2)).view(x.shape)
    torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(SITES["square"], backend="sdpa")
    assert_same_with_its_weights(MHSA(SITES["square"], backend="unfused"), fused, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    assert_images_do_not_see_each_other(*layer_and_map(SITES["odd"], batch=3, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_closed_form_is_the_machine_count(site, backend):
    assert_closed_form(MHSA, site, {"addmm": "projections", "bmm": "attention"}, backend=backend)


def test_macs_are_those_of_the_published_table():
    """14 x 14 tokens, C 768: 521.43 M (a peer's table of one layer)."""
    assert round(MHSA.macs(Site(height=14, width=14, dim=768, heads=12)).total / 1e6, 2) == 521.43


def test_macs_leave_nothing_to_other():
    assert MHSA.macs(Site(height=2, width=3, dim=4, heads=2)) == Macs(projections=384, attention=288, other=0)


MEMORY_SITE = Site(height=16, width=16, dim=16, heads=4)
SCORES = 4 * 256**2
QKV = 3 * 256 * 16
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32)


def test_fused_attention_never_makes_the_scores_forward_or_backward():
    assert recorded_training(*memory_case()).largest == QKV


def test_unfused_attention_makes_the_scores():
    assert recorded_forward(*memory_case(backend="unfused")).largest == SCORES


def test_fused_attention_saves_no_scores_for_backward():
    assert sum(bytes_saved_for_backward(*memory_case())) < FLOAT32_BYTES * SCORES / 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    assert_half_precision_is_near(*layer_and_map(SITES["square"], backend=backend), dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    assert_compiles_into_one_graph(*layer_and_map(SITES["odd"], dtype=torch.float32, backend=backend), rtol=1.3e-6)


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(MHSA, SITES["odd"])
