"""The published networks: the authors' outputs, names, parameters and multiply-adds, and what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from golden_recipe import GOLDEN, flax_tensor, golden_input, pytorch_tensor
from networks import SMALL, images, published_shapes, small, weightless
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from attnbench.mechanism import Site
from attnbench.mechanisms.hmhsa import HMHSA
from attnbench.mechanisms.lavit import LessAttention
from attnbench.mechanisms.lavit.attention import Reused
from attnbench.mechanisms.qna import QnA
from attnbench.mechanisms.qna.attention import LearnedQueryAttention
from attnbench.mechanisms.qna.flax_names import from_flax
from attnbench.mechanisms.qna.local import LocalAttention

HAT_NETS = ["hat_net_tiny", "hat_net_small", "hat_net_medium", "hat_net_large"]
QNA_VITS = ["qna_vit_tiny", "qna_vit_tiny_7x7", "qna_vit_small", "qna_vit_base"]
FAMILIES = pytest.mark.parametrize("name", list(SMALL))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module) -> tuple[float, float]:
    """Multiply-adds of one 224 x 224 image in G, all of them and those of attention products."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network(torch.empty(1, 3, 224, 224, device="meta"))
    counts = counter.get_flop_counts()["Global"]
    return sum(counts.values()) / 2e9, counts[torch.ops.aten.bmm] / 2e9


def golden_logits(name: str) -> torch.Tensor:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return torch.from_numpy(file["logits_224x224"])


# What the authors published


def test_hat_net_gives_the_logits_of_the_authors_code():
    network = timm.create_model("hat_net_tiny").eval()
    network.load_state_dict(
        {name: pytorch_tensor(name, shape) for name, shape in published_shapes("hat_net_tiny").items()}
    )
    expected = golden_logits("hat_net_tiny")
    with torch.no_grad():
        logits = network(golden_input((2, 3, 224, 224)))
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_qna_vit_gives_the_logits_of_the_authors_code():
    network = timm.create_model("qna_vit_tiny").eval()
    network.load_state_dict(
        {name: flax_tensor(name, shape) for name, shape in published_shapes("qna_vit_tiny").items()}
    )
    expected = golden_logits("qna_vit_tiny")
    with torch.no_grad():
        logits = network(golden_input((2, 224, 224, 3)).permute(0, 3, 1, 2))
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", HAT_NETS)
def test_hat_net_has_exactly_the_tensors_of_the_authors_checkpoint(name):
    found = {key: tuple(tensor.shape) for key, tensor in weightless(name).state_dict().items()}
    assert found == published_shapes(name)


@pytest.mark.parametrize("name", QNA_VITS)
def test_qna_vit_has_exactly_the_tensors_of_the_authors_checkpoint(name):
    published = {key: torch.empty(shape, device="meta") for key, shape in published_shapes(name).items()}
    found = {key: tensor.shape for key, tensor in weightless(name).state_dict().items()}
    assert {key: tensor.shape for key, tensor in from_flax(published).items()} == found
    assert len(found) == len(published)


@pytest.mark.parametrize(
    ("name", "published_params_m", "published_macs_g", "macs_g"),
    [
        ("hat_net_tiny", 12.7, 2.0, 2.128),
        ("hat_net_small", 25.7, 4.3, 4.548),
        ("hat_net_medium", 42.9, 8.3, 8.777),
        ("hat_net_large", 63.1, 11.5, 12.075),
    ],
)
def test_hat_net_has_the_published_size_and_the_published_macs_leave_attention_out(
    name, published_params_m, published_macs_g, macs_g
):
    network = weightless(name)
    total, attention = macs(network)
    assert parameters(network) / 1e6 == pytest.approx(published_params_m, abs=0.05)
    assert total - attention == pytest.approx(published_macs_g, abs=0.1)
    assert total == pytest.approx(macs_g, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "params_m", "macs_g"),
    [
        ("qna_vit_tiny", 15.716, 2.425),
        ("qna_vit_tiny_7x7", 15.754, 2.514),
        ("qna_vit_small", 24.972, 4.347),
        ("qna_vit_base", 55.670, 9.509),
    ],
)
def test_qna_vit_has_the_size_and_macs_of_the_authors_code(name, params_m, macs_g):
    network = weightless(name)
    weighting = sum(  # of values by exponentials: elementwise here, a product in the recount
        layer.query.numel() * side**2
        for stage, side in zip(network.stages, (56, 28, 14, 7), strict=True)
        for key, layer in stage.named_modules()
        if isinstance(layer, LearnedQueryAttention) and not key.startswith("shrink")
    )
    shrinking = sum(
        stage.shrink.attention.attention.query.numel() * side**2
        for stage, side in zip(network.stages[1:], (56, 28, 14), strict=True)
    )
    assert parameters(network) / 1e6 == pytest.approx(params_m, abs=5e-4)
    assert macs(network)[0] + (weighting + shrinking) / 1e9 == pytest.approx(macs_g, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "params_m", "macs_g", "params_m_unmixed", "macs_g_unmixed"),
    [
        ("lavit_tiny", 13.127, 1.931, 12.47, 1.85),
        ("lavit_small", 24.373, 3.811, 22.31, 3.56),
        ("lavit_base", 42.120, 6.457, 39.57, 6.06),
    ],
)
def test_lavit_has_the_size_and_macs_of_its_assumptions(name, params_m, macs_g, params_m_unmixed, macs_g_unmixed):
    network = weightless(name)
    layers = [layer for layer in network.modules() if isinstance(layer, LessAttention)]
    mixing = [(layer.site.heads, layer.attend) for layer in layers if isinstance(layer.attend, Reused)]
    mixing_params = sum(parameters(attend) for _, attend in mixing)
    mixing_macs = sum(
        heads * len(attend.psi.weight) * len(attend.theta.weight) * (len(attend.psi.weight) + len(attend.theta.weight))
        for heads, attend in mixing
    )
    total = macs(network)[0]
    assert parameters(network) / 1e6 == pytest.approx(params_m, abs=5e-4)
    assert total == pytest.approx(macs_g, abs=5e-4)
    assert (parameters(network) - mixing_params) / 1e6 == pytest.approx(params_m_unmixed, abs=0.006)
    assert total - mixing_macs / 1e9 == pytest.approx(macs_g_unmixed, abs=0.006)


# Made of the layers that a sweep measures


@FAMILIES
def test_every_parameter_takes_part(name):
    network = small(name)
    network(images()).square().sum().backward()
    idle = [key for key, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert all(key.split(".")[-2] == "proj_norm" for key in idle)  # the authors' code leaves it unused as well


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("hat_net_tiny", {HMHSA: 13}),
        ("qna_vit_tiny", {QnA: 7, LearnedQueryAttention: 10}),
        ("lavit_tiny", {LessAttention: 8}),
    ],
)
def test_a_network_is_made_of_the_layers_that_a_sweep_measures(name, layers):
    modules = list(weightless(name).modules())
    assert {layer: sum(type(module) is layer for module in modules) for layer in layers} == layers


def test_hat_net_takes_grids_and_pools_for_dense_tasks():
    with torch.device("meta"):
        network = timm.create_model("hat_net_tiny", grids=(8, 8, 8, 1), pools=(16, 8, 4, 1))
    found = [(stage[0].attn.grid, stage[0].attn.pool) for stage in network.blocks]
    assert found == [(8, 16), (8, 8), (8, 4), (1, 1)]


def test_lavit_hands_scores_from_stage_to_stage():
    network = small("lavit_tiny")
    before = network.forward_intermediates(images(), intermediates_only=True)
    nn.init.zeros_(network.stages[1].blocks[0].attention.attend.residual.mix.weight)
    after = network.forward_intermediates(images(), intermediates_only=True)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_lavit_refuses_images_of_another_size_than_it_was_built_for():
    with pytest.raises(ValueError, match=r"built for images of \(70, 99\), got \(70, 98\)"):
        small("lavit_tiny")(images()[..., :98])


def test_qna_vit_pads_images_around_as_flax_does():
    network = small("qna_vit_tiny")
    torch.testing.assert_close(network(images()), network(nn.functional.pad(images(), (0, 1, 1, 1))))


# Local attention of QnA-ViT


def local_attention(x: torch.Tensor, layer: LocalAttention) -> torch.Tensor:
    """One image (H, W, C), token by token in float64."""
    height, width, dim = x.shape
    heads, side = layer.site.heads, layer.window
    d = dim // heads
    y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    y = y * layer.norm.weight + layer.norm.bias
    q, k, v = (y @ weight.T for weight in layer.qkv.weight.chunk(3))
    out = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            top, left = i // side * side, j // side * side
            window = [(a, b) for a in range(top, min(top + side, height)) for b in range(left, min(left + side, width))]
            for head in range(heads):
                part = slice(head * d, (head + 1) * d)
                scores = torch.stack(
                    [
                        q[i, j, part] @ k[a, b, part] / d**0.5 + layer.table[head, i - a + side - 1, j - b + side - 1]
                        for a, b in window
                    ]
                )
                out[i, j, part] = sum(w * v[a, b, part] for w, (a, b) in zip(scores.softmax(0), window, strict=True))
    return out @ layer.proj.weight.T


@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 5), (2, 4)])
def test_local_attention_is_its_definition_on_maps_of_any_size(height, width):
    torch.manual_seed(0)
    layer = LocalAttention(Site(height=height, width=width, dim=8, heads=2), window=3).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, height, width, 8, dtype=torch.float64)
    expected = torch.stack([local_attention(image, layer) for image in x])
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_local_attention_counts_what_torch_counts():
    site = Site(height=7, width=5, dim=8, heads=2)
    with torch.device("meta"):
        layer, x = LocalAttention(site, window=3), torch.empty(1, 7, 5, 8)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        layer(x)
    assert 2 * LocalAttention.macs(site, window=3).total == counter.get_total_flops()
