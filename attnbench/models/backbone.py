"""The fixed four-stage pyramid in which only the mechanism changes, and the stack of layers of the layer scope.

The pyramid has Swin-T's widths, depths, heads and MLPs. Each stage starts with a depthwise 3 x 3 convolution that
tells tokens where they are (conditional position encoding, Chu et al., arXiv:2102.10882), so that mechanisms
without a position embedding of their own are not measured blind and any map size works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Map, Mechanism, Site
from attnbench.models.pyramid import SWIN_T_SIZED, Pyramid

Images = Float[Tensor, "batch channels image_height image_width"]
Logits = Float[Tensor, "batch classes"]
Build = Callable[[Site], Mechanism]


def sites(pyramid: Pyramid, height: int, width: int) -> list[list[Site]]:
    """Return the sites of every stage for an image of height x width pixels.

    Maps that do not divide are padded up, so a side is halved rounding up.
    """
    stages: list[list[Site]] = []
    before: Site | None = None
    rows, columns = -(-height // pyramid.patch), -(-width // pyramid.patch)
    for index, (dim, depth, heads) in enumerate(zip(pyramid.dims, pyramid.depths, pyramid.heads, strict=True)):
        stride = pyramid.stride(index)
        stage = [
            Site(
                height=rows, width=columns, dim=dim, heads=heads, stride=stride, layer=layer, depth=depth, before=before
            )
            for layer in range(depth)
        ]
        stages.append(stage)
        before = stage[-1]
        rows, columns = -(-rows // 2), -(-columns // 2)
    return stages


def macs_around(
    stages: Sequence[Sequence[Site]],
    *,
    pyramid: Pyramid = SWIN_T_SIZED,
    classes: int = 1000,
    mlp_tokens: Callable[[Site], int] = lambda site: site.tokens,
) -> int:
    """Return the multiply-adds per image of everything but the mechanisms: shrinking, positions, MLPs, head."""
    total, channels, patch = 0, pyramid.in_channels, pyramid.patch
    for stage in stages:
        first = stage[0]
        shrink = first.tokens * channels * patch**2 * first.dim
        position = first.tokens * first.dim * 9
        mlps = sum(map(mlp_tokens, stage)) * 2 * pyramid.mlp_ratio * first.dim**2
        total += shrink + position + mlps
        channels, patch = first.dim, 2
    return total + channels * classes


class BackboneBlock(nn.Module):
    """A mechanism and an MLP, each with a residual."""

    def __init__(self, mechanism: Mechanism, dim: int, mlp_ratio: int) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim)
        )

    def forward(self, x: Map, carry: Any) -> tuple[Map, Any]:  # noqa: ANN401 - the mechanism's own
        """Return the map and what the mechanism hands on."""
        attended, carry = self.mechanism.step(x, carry)
        x = x + attended
        rest, carry = self.mechanism.rest(x, carry, self.mlp)
        return x + rest, carry


class BackboneShrink(nn.Module):
    """A strided patch convolution and a norm: image to tokens, or one stage to the next. Pads what does not divide."""

    def __init__(self, in_channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.conv = nn.Conv2d(in_channels, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "batch channels rows columns"]) -> Map:
        """Return (B, ceil(H / patch), ceil(W / patch), dim)."""
        rows, columns = x.shape[-2:]
        x = F.pad(x, (0, -columns % self.patch, 0, -rows % self.patch))
        tokens: Tensor = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return tokens


class BackboneStage(nn.Module):
    """Patch embedding, position encoding, blocks."""

    def __init__(self, shrink: BackboneShrink, blocks: Sequence[BackboneBlock], dim: int) -> None:
        super().__init__()
        self.shrink = shrink
        self.position = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        carry: Any,  # noqa: ANN401
    ) -> tuple[Float[Tensor, "batch dim height width"], Any]:
        """Return the stage's map, channels first, and the carry."""
        y = self.shrink(x)
        y = y + self.position(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        for block in self.blocks:
            y, carry = block(y, carry)
        return y.permute(0, 3, 1, 2), carry


class Backbone(nn.Module):
    """A pyramid of one mechanism with a classification head, built for one image size."""

    def __init__(
        self, build: Build, *, height: int, width: int, classes: int = 1000, pyramid: Pyramid = SWIN_T_SIZED
    ) -> None:
        super().__init__()
        channels, patch = pyramid.in_channels, pyramid.patch
        stages = []
        for stage in sites(pyramid, height, width):
            dim = stage[0].dim
            blocks = [BackboneBlock(build(site), dim, pyramid.mlp_ratio) for site in stage]
            stages.append(BackboneStage(BackboneShrink(channels, dim, patch), blocks, dim))
            channels, patch = dim, 2
        self.stages = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Images) -> Logits:
        """Return logits, (B, channels, height, width) to (B, classes)."""
        x, carry = images, None
        for stage in self.stages:
            x, carry = stage(x, carry)
        logits: Tensor = self.head(self.norm(x.mean((2, 3))))
        return logits


class Stack(nn.Module):
    """Layers of one mechanism at one site, each with the outer residual: what the layer scope measures."""

    def __init__(self, layers: Sequence[Mechanism]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Map) -> Map:
        """Return the map after every layer, (B, H, W, C)."""
        carry: Any = None
        for layer in self.layers:
            assert isinstance(layer, Mechanism)
            attended, carry = layer.step(x, carry)
            x = x + attended
        return x
