"""Performer: its features, the softmax attention that they estimate, and scores of any size."""

import math
from functools import partial

import pytest
import torch
from layer_checks import (
    FLOAT32_BYTES,
    SITES,
    assert_near,
    bytes_saved_for_backward,
    random_layer_and_map,
)

from attnbench.mechanism import Site
from attnbench.mechanisms.mhsa import MHSA
from attnbench.mechanisms.performer import PerformerAttention
from attnbench.mechanisms.performer.attention import estimated_attention, feature_count, orthogonal_features

layer_and_map = partial(random_layer_and_map, PerformerAttention)


def error_to_softmax_attention(layer, x, count, *, draws):
    """The error's root mean square over draws of so many features, and that of attending to all keys equally."""
    site = layer.site
    softmax = MHSA(site).double()
    softmax.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "features"})
    expected, squares = softmax(x), []
    for seed in range(draws):
        layer.features = orthogonal_features(count, site.head_dim, seed=seed) * site.head_dim**-0.25
        squares.append((layer(x) - expected).square().mean())
    layer.features = layer.features * 0  # every phi is then the same, but for the length of its key
    return torch.stack(squares).mean().sqrt().item(), (layer(x) - expected).square().mean().sqrt().item()


@torch.no_grad()
def test_error_to_softmax_attention_falls_with_the_root_of_the_features():
    """At moderate scores: the variance is exponential in |q + k|^2, 1.3 at most here."""
    layer, x = layer_and_map(SITES["square"], std=0.2)
    counts = [16, 64, 256, 1024, 4096]
    errors = [error_to_softmax_attention(layer, x, count, draws=24) for count in counts]
    logs = torch.tensor([[math.log(count), math.log(error)] for count, (error, _) in zip(counts, errors, strict=True)])
    away = logs - logs.mean(0)
    exponent = (away[:, 0] @ away[:, 1] / away[:, 0].square().sum()).item()
    assert -0.6 < exponent < -0.4
    assert errors[-1][0] < 0.1 * errors[-1][1]


@torch.no_grad()
def test_a_layer_as_built_with_many_features_is_near_softmax_attention():
    layer, x = layer_and_map(SITES["square"], std=0.2, features=4096)
    softmax = MHSA(SITES["square"]).double()
    softmax.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "features"})
    estimated = layer(x) - softmax(x)
    layer.features.zero_()
    assert estimated.norm() < 0.1 * (layer(x) - softmax(x)).norm()


BLOCKS, WIDTH = 20_000, 4


@pytest.mark.parametrize(
    ("q", "k"),
    [
        ([0.9, 0.2, -0.3, -0.5], [-0.1, 0.7, 1.1, 0.1]),
        ([0.5, -0.6, 0.2, 0.4], [-0.4, -0.3, 0.3, -0.9]),
        ([-0.5, -0.5, -0.5, 0.5], [-0.5, -0.5, -0.5, 0.5]),
    ],
)
def test_the_kernel_is_exp_in_expectation(q, k):
    q, k = torch.tensor([q, k], dtype=torch.float64)
    w = orthogonal_features(BLOCKS * WIDTH, WIDTH, seed=0)
    products = torch.exp(w @ q - q @ q / 2) * torch.exp(w @ k - k @ k / 2)
    estimates = products.view(BLOCKS, WIDTH).mean(1)  # vectors of different blocks are independent
    deviation = (estimates.mean() - torch.exp(q @ k)) / (estimates.std() / BLOCKS**0.5)
    assert abs(deviation.item()) < 4


@pytest.mark.parametrize(("count", "width"), [(12, 4), (10, 4), (3, 4), (5, 1), (266, 64)])
def test_features_of_a_block_are_orthogonal(count, width):
    w = orthogonal_features(count, width, seed=3)
    assert w.shape == (count, width)
    for block in w.split(width):
        gram = block @ block.mT
        torch.testing.assert_close(gram, gram.diagonal().diag(), rtol=0, atol=1e-12 * width)


def test_features_are_gaussian_vectors():
    """Each has normal entries, in whatever row of its block: mean 0, variance 1, fourth moment 3."""
    w = orthogonal_features(BLOCKS * WIDTH, WIDTH, seed=1).view(BLOCKS, WIDTH, WIDTH)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        tolerance = 4.5 * (spread / BLOCKS) ** 0.5
        torch.testing.assert_close(
            w.pow(power).mean(0), torch.full((WIDTH, WIDTH), moment).double(), rtol=0, atol=tolerance
        )


def test_variance_is_that_of_the_formula_and_less_for_orthogonal_features():
    """q = k and |q + k| = 1: independent features have (e - 1) / m, relative to the kernel."""
    q = torch.tensor([0.1, -0.3, 0.1, 0.3742], dtype=torch.float64)
    orthogonal = orthogonal_features(BLOCKS * WIDTH, WIDTH, seed=0)
    independent = torch.randn(BLOCKS * WIDTH, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    products = [torch.exp(2 * w @ q - 2 * q @ q).view(BLOCKS, WIDTH) for w in (orthogonal, independent)]
    ours, theirs = (each.mean(1).var().item() / each.mean().item() ** 2 for each in products)
    assert theirs == pytest.approx((math.e - 1) / WIDTH, rel=0.1)
    assert ours < 0.9 * theirs


def far_apart(dtype=torch.float32):
    """Queries and keys whose exponents reach hundreds, values, and features; for heads of 4 channels."""
    generator = torch.Generator().manual_seed(5)
    q, k, v = torch.randn(3, 1, 2, 9, 4, dtype=torch.float64, generator=generator).to(dtype)
    w = orthogonal_features(12, 4, seed=0) * 4**-0.25
    return 60 * q, 30 * k, v, w.to(dtype)


def test_exponentials_beyond_float32_do_no_harm():
    q, k, v, w = far_apart()
    lengths = k.square().sum(-1, keepdim=True) / 4
    assert torch.exp(q @ w.mT).isinf().any()
    assert (torch.exp(k @ w.mT - lengths) == 0).all(-1).any()
    of_queries, of_keys = (q.double() @ w.double().mT), (k.double() @ w.double().mT - lengths.double())
    exponents = of_queries[:, :, :, None] + of_keys[:, :, None]  # query, key, feature
    weights = exponents.flatten(-2).softmax(-1).view(exponents.shape).sum(-1)
    torch.testing.assert_close(estimated_attention(q, k, v, w).double(), weights @ v.double(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_output_is_a_mean_of_values_and_gradients_are_finite_for_any_scores(dtype):
    q, k, v, w = far_apart(dtype)
    inputs = [(10 * q).requires_grad_(), (10 * k).requires_grad_(), v.requires_grad_()]
    out = estimated_attention(*inputs, w)
    assert (out <= v.amax(-2, keepdim=True) + 0.05).all()
    assert (out >= v.amin(-2, keepdim=True) - 0.05).all()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(out.sum(), inputs))


def test_keys_whose_squares_are_beyond_float16_are_attended_to():
    """300^2 is 90,000; float16 ends at 65,504. Equal keys get the mean of their values."""
    q, v = torch.randn(2, 1, 1, 8, 4, generator=torch.Generator().manual_seed(2)).half()
    out = estimated_attention(q, torch.full_like(v, 300.0), v, orthogonal_features(8, 4, seed=0).half())
    torch.testing.assert_close(out, v.mean(-2, keepdim=True).expand_as(v), rtol=2e-3, atol=2e-3)


def test_sums_over_many_tokens_stay_within_float16():
    """40,000 keys at the origin with values of 4 would sum to 160,000; float16 ends at 65,504."""
    k, v = torch.zeros(1, 1, 40_000, 4).half(), torch.full((1, 1, 40_000, 4), 4.0).half()
    q = torch.randn(1, 1, 3, 4).half()
    out = estimated_attention(q, k, v, orthogonal_features(8, 4, seed=0).half())
    torch.testing.assert_close(out, torch.full_like(out, 4.0), rtol=2e-3, atol=0)


def built(seed, **place):
    torch.manual_seed(seed)
    return PerformerAttention(Site(height=2, width=2, dim=16, heads=2, **place))


def test_features_follow_torchs_seed_and_differ_between_layers():
    features = built(0).features
    assert torch.equal(built(0).features, features)
    for other in (built(1), built(0, layer=1, depth=2), built(0, stride=8)):
        assert not torch.allclose(other.features, features)


def test_features_take_nothing_from_torchs_generator():
    drawn = []
    for count in (1, 50):
        torch.manual_seed(0)
        layer = PerformerAttention(SITES["square"], features=count)
        drawn.append((layer.proj.weight, torch.rand(4)))
    torch.testing.assert_close(*drawn, rtol=0, atol=0)


def test_features_are_in_the_state_dict_and_not_learned():
    first, second = built(0), built(1)
    x = torch.randn(1, 2, 2, 16)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
    assert "features" not in dict(first.named_parameters())


def test_features_are_the_same_in_training_and_evaluation():
    layer, x = layer_and_map(SITES["odd"])
    before = layer.features.clone()
    layer.train()(x).sum().backward()
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert torch.equal(layer.features, before)


def test_a_layer_built_on_the_meta_device_has_no_data():
    with torch.device("meta"):
        layer = PerformerAttention(SITES["square"])
    assert {tensor.device.type for tensor in layer.state_dict().values()} == {"meta"}
    assert layer.to_empty(device="cpu").load_state_dict(PerformerAttention(SITES["square"]).state_dict())


@pytest.mark.parametrize(("width", "count"), [(1, 1), (2, 1), (8, 16), (32, 110), (64, 266)])
def test_features_are_d_log_d_where_nobody_said(width, count):
    site = Site(height=1, width=1, dim=2 * width, heads=2)
    assert feature_count(site, "auto") == count
    assert PerformerAttention(site).features.shape == (count, width)


MEMORY_SITE = Site(height=24, width=24, dim=16, heads=4)
WEIGHTS = 4 * 576 * 20
memory_case = partial(layer_and_map, MEMORY_SITE, batch=1, dtype=torch.float32, features=20)


def test_backward_keeps_two_softmaxes():
    saved = bytes_saved_for_backward(*memory_case())
    assert sum(size >= FLOAT32_BYTES * WEIGHTS for size in saved) == 2


def test_autocast_stays_near_float32():
    layer, x = layer_and_map(SITES["square"], dtype=torch.float32)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = layer(x)
    assert_near(got, expected)
