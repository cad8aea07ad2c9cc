"""Attention by learned queries: scores of any size, windows of any stride, and the authors' outputs."""

from __future__ import annotations

import pytest
import torch
from golden_recipe import flax_tensor, golden, golden_input
from mechanism_cases.qna import of_one_image, windows_by_definition
from recording import Recording
from torch import Tensor, nn
from torch.nn.functional import conv2d

from attnbench.mechanism import Site
from attnbench.mechanisms.qna import QnA
from attnbench.mechanisms.qna import depthwise as depthwise_module
from attnbench.mechanisms.qna.attention import LearnedQueryAttention
from attnbench.mechanisms.qna.depthwise import depthwise
from attnbench.mechanisms.qna.windows import attend_windows

MAPS = {"square": (6, 6), "odd": (5, 7), "wide": (1, 9), "one token": (1, 1)}
maps = pytest.mark.parametrize(("height", "width"), MAPS.values(), ids=MAPS)


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)


def build(in_dim: int, dim: int, heads: int, **options: int) -> LearnedQueryAttention:
    """A layer in float64 with every parameter random, so that none can be left out unnoticed."""
    layer = LearnedQueryAttention(in_dim, dim, heads, **options).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def inputs(height: int, width: int, *, spread: float, k: int = 3, batch: int = 2) -> tuple[Tensor, ...]:
    """Scores of a given spread, values, biases and scales in float32, for two queries and two heads."""
    scores = spread * torch.randn(batch, height, width, 2, 2)
    return scores, torch.randn(batch, height, width, 2, 3), torch.randn(2, 2, k, k), torch.randn(2, 2, k, k)


@pytest.mark.parametrize(("options", "heads"), [({}, 2), ({"heads": 8}, 8), ({"head_dim": 8}, 4)])
def test_heads_are_the_sites_or_those_asked_for(options, heads):
    site = Site(height=4, width=4, dim=32, heads=2)
    assert QnA(site, **options).attention.heads == heads
    assert QnA.macs(site, **options).projections == 16 * (2 * 32**2 + 2 * heads * 32)
    assert QnA.why_unsupported(site, head_dim=7) == "dim 32 does not divide into heads of 7"
    assert QnA.why_unsupported(site, heads=5) == "dim 32 does not divide into 5 heads"


def test_weights_start_as_the_released_code_draws_them():
    attention = LearnedQueryAttention(256, 256, 32)
    for weight in (attention.key, attention.value.weight, attention.proj.weight):
        assert weight.std().item() == pytest.approx(256**-0.5, rel=0.02)
        assert weight.abs().max() <= 2 * 256**-0.5 / 0.8796
    assert attention.query.std().item() == pytest.approx(0.88 * 8**-0.5, rel=0.1)
    assert attention.bias.count_nonzero() == 0
    assert attention.scale.std().item() == pytest.approx(0.02, rel=0.1)


def expected_of(tensors: tuple[Tensor, ...], stride: int = 1) -> Tensor:
    scores, values, bias, scale = (tensor.double() for tensor in tensors)
    images = zip(scores, values, strict=True)
    return torch.stack([windows_by_definition(s, v, bias, scale, stride) for s, v in images])


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(("kernel_size", "queries", "stride"), [(3, 2, 1), (5, 1, 1), (3, 3, 2), (1, 2, 1), (7, 2, 2)])
@maps
def test_output_and_gradients_are_those_of_the_definition(height, width, kernel_size, queries, stride):
    layer = build(4, 6, 2, kernel_size=kernel_size, queries=queries, stride=stride)
    x = torch.randn(2, height, width, 4, dtype=torch.float64, requires_grad=True)
    expected = torch.stack([of_one_image(layer, image) for image in x])
    found = layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    direction, wanted = torch.randn_like(found), [x, *layer.parameters()]
    gradients = [
        torch.autograd.grad(output, wanted, direction, allow_unused=True, materialize_grads=True)
        for output in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["qna_layer_a", "qna_layer_b", "qna_layer_c"])
def test_the_authors_outputs_are_reproduced(name):
    expected, config, shapes = golden(name)
    k, queries, heads = config["kernel_size"], config["n_queries"], config["heads"]
    layer = LearnedQueryAttention(
        config["in_features"], config["features"], heads, kernel_size=k, queries=queries, stride=config["stride"]
    )
    flax = {name: flax_tensor(name, shape) for name, shape in shapes.items()}
    by_offset = {
        name: flax[name].view(k, k, queries, heads).permute(2, 3, 0, 1) for name in ("rpe_bias", "attn_scale_weights")
    }
    layer.load_state_dict(
        {
            "query": flax["query"],
            "key": flax["Wk"].T,
            "value.weight": flax["to_v/kernel"].T,
            "proj.weight": flax["to_out/kernel"].T,
            "bias": by_offset["rpe_bias"],
            "scale": by_offset["attn_scale_weights"],
        }
    )
    x = golden_input((config["batch"], config["height"], config["width"], config["in_features"]))
    assert (layer(x) - expected).abs().max() < 1e-5 * expected.abs().max()


def one_loud_token(scores: Tensor) -> None:
    scores[:, 2, 2] += 1e4


def one_loud_half(scores: Tensor) -> None:
    scores[:, :, 3:] += 200


def one_faint_corner(scores: Tensor) -> None:
    scores[:, :3, :3] -= 1e4


def all_loud(scores: Tensor) -> None:
    scores += 1e4


def a_ramp(scores: Tensor) -> None:
    scores += 30 * torch.arange(scores.shape[2], dtype=scores.dtype).view(-1, 1, 1)


def all_apart(scores: Tensor) -> None:
    scores *= 1e4


LANDSCAPES = [one_loud_token, one_loud_half, one_faint_corner, all_loud, a_ramp, all_apart]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_no_score_is_too_large_or_too_far_below_the_others(landscape, stride):
    scores, *others = inputs(7, 6, spread=1)
    landscape(scores)
    tensors = [tensor.requires_grad_() for tensor in (scores, *others)]
    found, expected = attend_windows(*tensors, stride=stride), expected_of(tensors, stride)
    assert relative_error(found, expected) < 2e-6
    direction = torch.randn_like(found)
    gradients = zip(
        torch.autograd.grad(found, tensors, direction),
        torch.autograd.grad(expected, tensors, direction.double()),
        strict=True,
    )
    for ours, right in gradients:
        # A gradient of scores that lie far apart is zero: what is left is the rounding of terms of order 1.
        assert (ours - right).abs().max() < 1e-5 * max(1, right.abs().max())


def test_a_bias_that_lifts_a_faint_token_above_the_others_is_seen():
    scores, values, bias, scale = inputs(6, 6, spread=1)
    scores[:, ::2] -= 150
    bias[..., 0, :] += 150
    tensors = (scores, values, bias, scale)
    assert relative_error(attend_windows(*tensors, stride=1), expected_of(tensors)) < 2e-6


def test_an_image_of_extreme_scores_leaves_the_others_of_its_batch_alone():
    scores, values, bias, scale = inputs(6, 6, spread=1)
    scores[1] *= 1e4
    together = attend_windows(scores, values, bias, scale, stride=1)
    apart = [attend_windows(s[None], v[None], bias, scale, stride=1) for s, v in zip(scores, values, strict=True)]
    torch.testing.assert_close(together, torch.cat(apart))


@pytest.mark.parametrize("size", [1, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_scores_of_any_size_give_what_float64_gives(dtype, size):
    layer, x = build(4, 6, 2), torch.randn(2, 6, 5, 4)
    with torch.no_grad():
        layer.key.mul_(size)
    layer, x = layer.to(dtype), x.to(dtype)
    found = layer(x)
    expected = torch.stack([of_one_image(layer.double(), image.double()) for image in x])
    assert found.dtype == dtype
    # Scores of 1e4 are known to 1e-3 in float32, in which half precision forms them as well.
    assert relative_error(found, expected) < 8 * torch.finfo(dtype).eps + 2e-7 * size


def test_half_precision_learns_from_far_windows():
    layer, x = build(4, 6, 2), torch.randn(1, 6, 5, 4).to(torch.bfloat16)
    with torch.no_grad():
        layer.key.mul_(1e3)
    layer = layer.to(torch.bfloat16)
    layer(x).sum().backward()
    ours = layer.value.weight.grad
    layer = layer.double()
    (right,) = torch.autograd.grad(of_one_image(layer, x[0].double()).sum(), layer.value.weight)
    assert relative_error(ours, right) < 8 * torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_leaves_the_sums_over_windows_in_full_precision(dtype):
    layer, x = build(4, 6, 2).float(), 20 * torch.randn(2, 6, 5, 4)
    with torch.autocast("cpu", dtype):
        found = layer(x)
    assert relative_error(found, layer(x).double()) < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("window", [3, 7])
def test_far_windows_are_not_laid_out_in_memory_either(window):
    scores, values, bias, scale = (t.requires_grad_() for t in inputs(24, 20, spread=1e4, k=window))
    with Recording() as recording:
        attend_windows(scores, values, bias, scale, stride=1).sum().backward()
    assert recording.largest <= values.numel() * (24 + window) * (20 + window) / (24 * 20)


def test_the_closed_form_is_the_papers_without_the_elementwise_product():
    site = Site(height=14, width=10, dim=24, heads=4)
    n, c, h, k, queries = 140, 24, 4, 5, 3
    paper = n * (2 * c**2 + queries * h * c + queries * c * (1 + k**2) + queries * h * k**2)
    assert QnA.macs(site, window=k, queries=queries).total == paper - n * queries * c


@pytest.mark.parametrize(
    ("height", "width", "channels", "side", "stride"),
    [(9, 7, 6, 5, 1), (9, 7, 6, 7, 2), (3, 4, 8, 15, 1), (13, 20, 7, 9, 3), (1, 1, 4, 5, 1), (14, 14, 5, 3, 1)],
)
def test_a_depthwise_kernels_gradient_in_strips_is_the_gradient(height, width, channels, side, stride):
    x = torch.randn(2, height, width, channels).permute(0, 3, 1, 2).requires_grad_()
    kernel = torch.randn(channels, 1, side, side, requires_grad=True)
    y = depthwise(x, kernel, stride=stride)
    exact = conv2d(x.double(), kernel.double(), stride=stride, padding=side // 2, groups=channels)
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-4)
    grad = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, kernel), grad)
    expected = torch.autograd.grad(exact, (x, kernel), grad.double())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("most", [5 * 3 - 1, 2 * 5 * 3, 10**9])
def test_channels_of_a_kernels_gradient_taken_in_groups_are_those_of_all(monkeypatch, most):
    x, kernel = torch.randn(1, 5, 6, 7, requires_grad=True), torch.randn(5, 1, 5, 5, requires_grad=True)
    whole = torch.autograd.grad(conv2d(x, kernel, padding=2, groups=5).square().sum(), kernel)
    monkeypatch.setattr(depthwise_module, "MOST_WEIGHTS", most)
    found = torch.autograd.grad(depthwise(x, kernel, stride=1).square().sum(), kernel)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spread", [1, 1e4])
def test_the_layer_and_its_backward_pass_are_one_graph_with_and_without_far_windows(spread):
    tensors = [tensor.requires_grad_() for tensor in inputs(5, 4, spread=spread)]
    compiled = torch.compile(attend_windows, fullgraph=True, dynamic=False, backend="aot_eager")
    outputs = [attend(*tensors, stride=1) for attend in (attend_windows, compiled)]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(torch.autograd.grad(output.sum(), tensors) for output in outputs))


@pytest.mark.parametrize("spread", [1, 1e4])
def test_torch_finds_the_operators_of_far_windows_well_formed(spread):
    scores, values, bias, scale = inputs(5, 4, spread=spread)
    far = torch.full_like(scores, spread > 1, dtype=torch.bool)
    operators = torch.ops.attnbench_qna
    options = {"stride": 1, "far": far}
    utilities = ("test_schema", "test_faketensor")
    torch.library.opcheck(
        operators.far_windows, (scores, values, bias, scale, far), {"stride": 1}, test_utils=utilities
    )
    inputs_of_backward = (torch.randn_like(values), scores, values, bias, scale)
    torch.library.opcheck(operators.far_windows_backward, inputs_of_backward, options, test_utils=utilities)
