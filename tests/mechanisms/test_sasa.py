"""Attention in sliding windows: its tiles and chunks, its operators, and the memory of the lean backend."""

from functools import partial

import layer_checks
import pytest
import torch
from layer_checks import (
    assert_near,
    gradients,
    influence_on,
    random_layer_and_map,
)
from recording import Recording, saving_into
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanisms.sasa import StandAloneAttention, lean
from attnbench.mechanisms.sasa.tiles import Tiles, gather, scatter
from attnbench.probes.memory import peak

BACKENDS = ["unfolded", "lean"]
backends = pytest.mark.parametrize("backend", BACKENDS)


site_of = partial(layer_checks.site_of, dim=6)
layer_and_map = partial(random_layer_and_map, StandAloneAttention, std=0.6)


@pytest.mark.parametrize("window", [3, 15])
@pytest.mark.parametrize("size", [(14, 14), (23, 10), (8, 16)], ids=str)
def test_backends_agree_on_larger_maps(size, window):
    layers = [layer_and_map(site_of(*size), window=window, backend=backend) for backend in BACKENDS]
    outs = [layer(x) for layer, x in layers]
    torch.testing.assert_close(*outs, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(
        *(gradients(*each, out) for each, out in zip(layers, outs, strict=True)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("scores", [1, 2000, 10**7], ids=["a row of tiles", "a few rows", "all images"])
def test_result_and_gradients_do_not_depend_on_the_chunks(monkeypatch, scores):
    layer, x = layer_and_map(site_of(17, 9), batch=3, window=5, backend="unfolded")
    expected, right = layer(x), gradients(layer, x, layer(x))
    monkeypatch.setitem(lean.CHUNK_SCORES, "cpu", scores)
    layer.attend = lean.lean
    torch.testing.assert_close(layer(x), expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients(layer, x, layer(x)), right, rtol=1e-9, atol=1e-9)


@backends
def test_first_and_second_derivatives_are_those_of_finite_differences(backend):
    attend = layer_and_map(site_of(5, 2), backend=backend)[0].attend
    inputs = (torch.randn(1, 5, 2, 3, 2, 2).double(), torch.randn(2, 3, 3).double())
    inputs = tuple(each.requires_grad_() for each in inputs)
    assert gradcheck(attend, inputs, fast_mode=True)
    assert gradgradcheck(attend, inputs, fast_mode=True)


@backends
@pytest.mark.parametrize("size", [1e2, 1e6])
def test_what_is_outside_counts_as_nothing_however_small_the_scores_inside(size, backend):
    attend = layer_and_map(site_of(6, 6), backend=backend)[0].attend
    q, v = torch.ones(1, 6, 6, 1, 2), torch.ones(1, 6, 6, 1, 2)
    qkv = torch.stack([q, -size * q, v], 3)
    torch.testing.assert_close(attend(qkv, torch.zeros(1, 3, 3)), v)


def test_scatter_adds_a_token_as_often_as_gather_takes_it():
    grid = Tiles.of(19, 6, window=7).keys
    x = torch.randn(2, 19, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    pieces = gather(x, grid)
    direction = torch.randn_like(pieces)
    (expected,) = torch.autograd.grad(pieces, x, direction)
    found = torch.zeros_like(expected)
    scatter(found, direction, grid)
    torch.testing.assert_close(found, expected)


def test_the_backward_pass_is_counted_as_five_products():
    layer, x = layer_and_map(site_of(9, 5), batch=1, window=5)
    out = layer(x)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    flops = counter.get_flop_counts()["Global"][torch.ops.attnbench_sasa.attend_backward]
    assert flops == 2 * 5 * (9 * 5 * 25 * 6)


MAP = 56 * 56 * 32
MEMORY_SITE = site_of(56, 56, dim=32)


@pytest.mark.parametrize("window", [3, 7, 15])
def test_lean_never_makes_more_than_a_few_maps_forward_or_backward(window, monkeypatch):
    monkeypatch.setitem(lean.CHUNK_SCORES, "cpu", MAP)
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32, window=window)
    qkv = layer.qkv(layer.norm(x))
    with Recording() as recording:
        layer(x)
        # Below autograd, where the operators of the backward pass can be seen.
        packed = qkv.detach().view(1, 56, 56, 3, 2, 16)
        lean._attend(packed, layer.bias.detach())
        lean._attend_backward(packed[..., 0, :, :], packed, layer.bias.detach())
    assert recording.operators["bmm"] >= 7
    assert recording.largest == qkv.numel()


def test_lean_keeps_queries_keys_and_values_alone_for_backward():
    layer, x = layer_and_map(MEMORY_SITE, batch=1, dtype=torch.float32, window=15)
    qkv = layer.qkv(layer.norm(x)).detach().view(1, 56, 56, 3, 2, 16).requires_grad_()
    storages = {}
    with saving_into(storages):
        layer.attend(qkv, layer.bias)
    assert sum(storages.values()) == 4 * (qkv.numel() + layer.bias.numel())


@pytest.mark.parametrize("window", [3, 11])
def test_memory_of_a_training_step_does_not_grow_with_the_window(window, monkeypatch):
    monkeypatch.setitem(lean.CHUNK_SCORES, "cpu", 4000)
    layer, x = layer_and_map(site_of(32, 32, dim=64, heads=1), batch=1, dtype=torch.float32, window=window)

    def forget():
        layer.zero_grad(set_to_none=True)
        x.grad = None

    def train():
        forget()
        y = layer(x)
        y.backward(torch.ones_like(y))
        return y

    assert peak(train, device="cpu", forget=forget).peak_bytes < 14 * 4 * x.numel()


@backends
def test_autocast_trains_the_layer_in_half_precision(backend):
    layer, x = layer_and_map(site_of(9, 5), dtype=torch.float32, backend=backend)
    expected = gradients(layer, x, layer(x))
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    for name, found in gradients(layer, x, out.float()).items():
        assert_near(found, expected[name])


def test_a_compiled_backward_pass_is_the_lean_one():
    layer, x = layer_and_map(site_of(9, 5), dtype=torch.float32)
    operators = []

    def keep(graph, _inputs):
        operators.append({node.target for node in graph.graph.nodes})
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep)
    torch.compile(layer, fullgraph=True, backend=backend)(x).sum().backward()
    forward, backward = operators
    assert torch.ops.attnbench_sasa.attend.default in forward
    assert torch.ops.attnbench_sasa.attend_backward.default in backward


def test_torch_finds_the_operators_well_formed():
    qkv, bias = torch.randn(2, 9, 5, 3, 2, 4, requires_grad=True), torch.randn(2, 3, 3, requires_grad=True)
    operators = torch.ops.attnbench_sasa
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operators.attend, (qkv, bias), test_utils=utilities)
    backward = (torch.randn(2, 9, 5, 2, 4), qkv.detach(), bias.detach())
    torch.library.opcheck(operators.attend_backward, backward, test_utils=("test_schema", "test_faketensor"))


def test_a_token_is_reached_from_its_window_alone():
    layer, x = layer_and_map(site_of(19, 19), window=5)
    reached = influence_on(layer, x, 9, 7).any(-1)
    assert reached[7:12, 5:10].all()
    assert reached.sum() == 25
