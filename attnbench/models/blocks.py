"""What the published networks have in common beside their mechanisms: blocks, heads, how weights are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from attnbench.mechanism import Map, Mechanism


class GELU(nn.GELU):
    """A GELU that overwrites its input where no gradient is wanted.

    A second map that large is memory which the system may map and clear on every call.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated map."""
        if torch.is_grad_enabled():
            return super().forward(x)
        activated: Tensor = torch.ops.aten.gelu_(x, approximate=self.approximate)
        return activated


class MLP(nn.Module):
    """A norm and two linear layers with a GELU between them."""

    def __init__(self, dim: int, ratio: int, gelu: Literal["none", "tanh"] = "none") -> None:
        """Build the layers.

        Args:
            dim: channels of the map.
            ratio: hidden channels over the map's.
            gelu: approximation of the GELU.
        """
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.act = GELU(approximate=gelu)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Map) -> Map:
        """Return (B, H, W, C)."""
        y: Map = self.fc2(self.act(self.fc1(self.norm(x))))
        return y


class Block(nn.Module):
    """A mechanism and an MLP, each with a residual."""

    def __init__(self, attention: Mechanism, mlp: MLP, drop_path: float) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Map, carry: Any) -> tuple[Map, Any]:  # noqa: ANN401 - the mechanism's own
        """Return the map and what the mechanism hands on."""
        attended, carry = self.attention.step(x, carry)
        x = x + self.drop_path(attended)
        rest, carry = self.attention.rest(x, carry, self.mlp)
        return x + self.drop_path(rest), carry


def linear_head(dim: int, num_classes: int) -> nn.Module:
    """Return a linear layer with small random weights, or the identity for 0 classes."""
    if num_classes == 0:
        return nn.Identity()
    linear = nn.Linear(dim, num_classes)
    draw(linear)
    return linear


def draw(module: nn.Module) -> None:
    """Draw the weights of a linear layer or a convolution with deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def drop_path_rates(rate: float, blocks: int) -> Iterator[float]:
    """Yield the drop path rate of every block: from 0 for the first to ``rate`` for the last."""
    return iter(torch.linspace(0, rate, blocks, device="cpu").tolist())
