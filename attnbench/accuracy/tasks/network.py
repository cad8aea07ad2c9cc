"""The small network that learns a task: layers of one mechanism at one map size, and nothing that looks further."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.accuracy.tasks import maps
from attnbench.accuracy.tasks.table import ProbeTask
from attnbench.mechanism import Map, Mechanism, Site

Build: TypeAlias = Callable[[Site], Mechanism]

DIM, HEADS, LAYERS, STRIDE = 64, 2, 2, 16
"""Channels, heads and layers, and the stride of the backbone's third stage: mechanisms that depend on it do as there.

Two layers, since some take turns: Swin's windows lie elsewhere in the second, MaxViT's grid follows its blocks.
"""
_MLP_RATIO = 2


def sites(task: ProbeTask) -> list[Site]:
    """Return where the layers stand."""
    return [
        Site(height=task.height, width=task.width, dim=DIM, heads=HEADS, stride=STRIDE, layer=layer, depth=LAYERS)
        for layer in range(LAYERS)
    ]


class ProbeNetwork(nn.Module):
    """An embedding of each token, blocks of a mechanism and an MLP, and an answer for each token.

    But for the mechanism no token sees another: how far away an answer can lie is the mechanism's reach.
    """

    def __init__(self, build: Build, task: ProbeTask) -> None:
        super().__init__()
        self.embed = nn.Linear(maps.channels(task), DIM)
        self.mechanisms = nn.ModuleList(build(site) for site in sites(task))
        self.mlps = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(DIM), nn.Linear(DIM, _MLP_RATIO * DIM), nn.GELU(), nn.Linear(_MLP_RATIO * DIM, DIM)
            )
            for _ in self.mechanisms
        )
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, task.symbols)

    def forward(self, x: Float[Tensor, "batch height width channels"]) -> Float[Tensor, "batch height width symbols"]:
        """Return logits for each token."""
        y: Map = self.embed(x)
        carry: Any = None
        for mechanism, mlp in zip(self.mechanisms, self.mlps, strict=True):
            assert isinstance(mechanism, Mechanism)
            attended, carry = mechanism.step(y, carry)
            y = y + attended
            y = y + mlp(y)
        logits: Tensor = self.head(self.norm(y))
        return logits


def build_network(build: Build, task: ProbeTask, *, seed: int) -> ProbeNetwork:
    """Return the network of a task. For one seed, all but the mechanism starts from the same weights."""
    torch.manual_seed(seed)
    model = ProbeNetwork(build, task)
    inside = {module for layer in model.mechanisms for module in layer.modules()}
    torch.manual_seed(seed)
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if module not in inside and callable(reset):
            reset()
    return model


def dependence(model: nn.Module, x: Float[Tensor, "1 height width channels"]) -> Float[Tensor, "asked seen"]:
    """Return how much the answer for each token depends on each token of a map: the gradient's size, N x N.

    An entry is 0 where nothing that is on the other token can change the answer, by how the network is built.
    """
    _, height, width, _ = x.shape
    tokens = height * width
    each = x.expand(tokens, -1, -1, -1).detach().requires_grad_()
    answers = model(each).flatten(1, 2)
    own = answers[torch.arange(tokens), torch.arange(tokens)]
    # Of random weights, so that no two logits cancel out.
    weights = torch.linspace(1.0, 2.0, own.shape[-1], dtype=own.dtype, device=own.device)
    (gradient,) = torch.autograd.grad((own * weights).sum(), each)
    return gradient.abs().sum(-1).flatten(1)
