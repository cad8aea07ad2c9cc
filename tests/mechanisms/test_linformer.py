"""Linformer against its definition, against plain attention where nothing is projected, and for what it costs."""

import math
from functools import partial

import pytest
import torch
from layer_checks import (
    SITES as COMMON_SITES,
)
from layer_checks import (
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_output_and_gradients,
    assert_refused,
    assert_same_with_its_weights,
    attention_by_definition,
    random_layer_and_map,
    recorded_forward,
)
from torch.nn.functional import layer_norm, linear

from attnbench.mechanism import Macs, Site
from attnbench.testing import check_mechanism
from mechanisms.linformer import LinformerAttention
from mechanisms.mhsa import MHSA

BACKENDS = ["sdpa", "unfused"]
SHARES = ["heads", "key-value"]
KEPT = 4
CHECKED = ["global-state", "deterministic", "state-dict", "gradients-reach", "half-precision", "macs", "exports"]
SITES = COMMON_SITES | {
    "one more than kept": Site(height=1, width=5, dim=6, heads=2),
    "as many as kept": Site(height=2, width=2, dim=6, heads=2),
}
layer_and_map = partial(random_layer_and_map, LinformerAttention, tokens=KEPT)


def mixtures(layer):
    """E and F, which mix nothing on a map that is not projected."""
    if layer.site.tokens <= KEPT:
        return [torch.eye(layer.site.tokens, dtype=torch.float64)] * 2
    return [layer.mix.weight[0], layer.mix.weight[-1]]


def by_definition(layer, x):
    """softmax(q (E K)^T / sqrt d) F V, image by image, head by head, query by query, mixture by mixture."""
    e, f = mixtures(layer)
    images = []
    for image in x.flatten(1, 2):
        y = layer_norm(image, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
        q, k, v = linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, dim=-1)
        mixed_k = torch.stack([sum(e[r, j] * k[j] for j in range(len(k))) for r in range(len(e))])
        mixed_v = torch.stack([sum(f[r, j] * v[j] for j in range(len(v))) for r in range(len(f))])
        attended = attention_by_definition(q, mixed_k, mixed_v, layer.site.heads)
        images.append(linear(attended, layer.proj.weight, layer.proj.bias))
    return torch.stack(images).view(x.shape)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_output_and_gradients_are_those_of_the_definition(site, backend, share):
    layer, x = layer_and_map(site, backend=backend, share=share)
    assert_output_and_gradients(layer, x, by_definition(layer, x), gradients_within=1e-9)


@pytest.mark.parametrize("share", SHARES)
def test_keys_and_values_have_mixtures_of_their_own_unless_they_share_them(share):
    layer, x = layer_and_map(SITES["square"], share=share)
    assert layer.mix.weight.shape == (1 if share == "key-value" else 2, KEPT, 16)
    expected = layer(x)
    with torch.no_grad():
        layer.mix.weight[-1] = 0  # values, and keys too if they are shared
    assert not torch.allclose(layer(x), expected)
    torch.testing.assert_close(layer(x), layer.proj.bias.expand_as(x))


@pytest.mark.parametrize("tokens", [16, 17, 256])
def test_a_map_of_no_more_tokens_than_kept_gets_multi_head_self_attention(tokens):
    layer, x = layer_and_map(SITES["square"], tokens=tokens)
    assert_same_with_its_weights(MHSA(SITES["square"]), layer, x)
    assert LinformerAttention.macs(layer.site, tokens=tokens) == MHSA.macs(layer.site)


def test_a_layer_takes_maps_of_the_tokens_that_it_was_built_for_only():
    layer, _ = layer_and_map(SITES["square"])
    with pytest.raises(RuntimeError):
        layer(torch.randn(1, 4, 5, 12, dtype=torch.float64))


def test_backends_have_the_same_parameters_and_output():
    fused, x = layer_and_map(SITES["square"], backend="sdpa")
    assert_same_with_its_weights(LinformerAttention(fused.site, tokens=KEPT, backend="unfused"), fused, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_a_batch_do_not_see_each_other(backend):
    assert_images_do_not_see_each_other(*layer_and_map(SITES["odd"], batch=3, backend=backend))


@pytest.mark.parametrize("options", [{"tokens": 20}, {"tokens": 20, "share": "key-value"}], ids=SHARES)
def test_the_contract_is_kept_where_the_map_is_projected(options):
    site = Site(height=9, width=5, dim=24, heads=3)
    check_mechanism(LinformerAttention, sites=[site], checks=CHECKED, **options)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_closed_form_is_the_machine_count(site, backend, share):
    options = {"tokens": KEPT, "share": share, "backend": backend}
    parts = {"addmm": "projections", "mm": "other", "bmm": "attention"}
    assert_closed_form(LinformerAttention, site, parts, **options)


def test_macs_of_mixing_are_in_other():
    macs = LinformerAttention.macs(Site(height=2, width=4, dim=4, heads=2), tokens=3)
    assert macs == Macs(projections=512, attention=192, other=192)


@pytest.mark.parametrize("side", [14, 28, 56])
def test_attention_is_linear_in_the_tokens_once_they_are_projected(side):
    small, large = (Site(height=each, width=each, dim=64, heads=1) for each in (side, 2 * side))
    ratio = LinformerAttention.macs(large, tokens=64).total / LinformerAttention.macs(small, tokens=64).total
    assert ratio == 4


def test_mixtures_keep_the_size_of_what_they_mix():
    """Glorot uniform with gain 1 / sqrt 2 has a variance of 1 / (N + k)."""
    torch.manual_seed(0)
    layer = LinformerAttention(Site(height=28, width=28, dim=8, heads=2), tokens=64)
    for each in layer.mix.weight:
        assert each.std().item() == pytest.approx((784 + 64) ** -0.5, rel=0.02)
        assert each.abs().max().item() <= math.sqrt(3 / (784 + 64))
    assert layer.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not layer.qkv.bias.any()


MEMORY_SITE = Site(height=16, width=16, dim=16, heads=8)
MEMORY_KEPT = 64
SCORES = 8 * 256 * MEMORY_KEPT
QKV = 3 * 256 * 16
E = MEMORY_KEPT * 256


def largest_made(**options):
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32, tokens=MEMORY_KEPT, **options)
    return recorded_forward(layer, x).largest


def test_fused_attention_never_makes_the_scores():
    assert largest_made(backend="sdpa") == max(QKV, E)


def test_unfused_attention_makes_scores_of_every_token_to_every_mixture():
    assert largest_made(backend="unfused") == SCORES


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float64(dtype, backend):
    assert_half_precision_is_near(*layer_and_map(SITES["square"], backend=backend), dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_into_one_graph_forward_and_backward(backend):
    assert_compiles_into_one_graph(*layer_and_map(SITES["odd"], dtype=torch.float32, backend=backend))


@pytest.mark.parametrize(
    ("side", "tokens", "said"),
    [
        (17, 256, None),
        (16, 256, "not projected (tokens 256, map has 256)"),
        (7, 256, "not projected (tokens 256, map has 49)"),
        (7, 48, None),
    ],
)
def test_adaptation_says_where_the_map_is_not_projected(side, tokens, said):
    site = Site(height=side, width=side, dim=8, heads=2)
    assert LinformerAttention.adaptation(site, tokens=tokens) == said
    assert (LinformerAttention.macs(site, tokens=tokens).other == 0) == (said is not None)


def test_tokens_are_256_where_nobody_said():
    assert LinformerAttention.adaptation(Site(height=1, width=256, dim=4, heads=2)) is not None
    assert LinformerAttention.adaptation(Site(height=1, width=257, dim=4, heads=2)) is None
    assert LinformerAttention(Site(height=1, width=257, dim=4, heads=2)).mix.weight.shape == (2, 256, 257)


@pytest.mark.parametrize("tokens", [0, -1])
def test_nothing_to_attend_to_is_an_error(tokens):
    assert_refused(LinformerAttention, SITES["odd"], f"tokens must be at least 1, got {tokens}", tokens=tokens)


def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason():
    assert_heads_must_divide(LinformerAttention, SITES["odd"])
