"""The fixed four-stage pyramid in which only the mechanism changes, and the stack of layers of the layer scope.

The pyramid has Swin-T's widths, depths, heads and MLPs. Each stage starts with a depthwise 3 x 3 convolution that
tells tokens where they are (conditional position encoding, Chu et al., arXiv:2102.10882), so that mechanisms
without a position embedding of their own are not measured blind and any map size works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Map, MapAfter, Mechanism, Site
from attnbench.models.pyramid import SWIN_T_SIZED, Pyramid

Images = Float[Tensor, "batch channels image_height image_width"]
Logits = Float[Tensor, "batch classes"]
Build = Callable[[Site], Mechanism]


Shrinks = Callable[[Site], int]
"""By how much the layer of a site makes its map smaller: ``Mechanism.shrinks``."""
_BETWEEN = 2
"""Tokens along a side of a patch from one stage to the next."""


def _never(_: Site) -> int:
    return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersOf:
    """Builds the layers of a mechanism, and knows which of them shrink their map.

    Example:
        >>> from attnbench.plugins.registry import discover
        >>> build = LayersOf(mechanism=discover().find("hiera").load(), options={"pool": 2})
        >>> site = Site(height=4, width=6, dim=16, heads=2)
        >>> build.shrinks(site), build(site).shrunk_by
        (2, 2)
    """

    mechanism: type[Mechanism]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, site: Site) -> Mechanism:
        """Build the layer of a site.

        Raises:
            PluginError: what it says of the map it returns is not what its class says of the site.
        """
        layer, by = self.mechanism(site, **self.options), self.shrinks(site)
        if layer.shrunk_by != by:
            raise PluginError(
                f"{self.mechanism.__name__} has shrunk_by={layer.shrunk_by!r} where shrinks says {by}; set one by the "
                "other in the constructor: self.shrunk_by = self.shrinks(site, **options)"
            )
        return layer

    def shrinks(self, site: Site) -> int:
        """Return by how much the layer of a site makes its map smaller.

        Raises:
            PluginError: it is no whole number from 1.
        """
        by = self.mechanism.shrinks(site, **self.options)
        if type(by) is not int or by < 1:
            raise PluginError(f"{self.mechanism.__name__}.shrinks is {by!r}; it is a whole number from 1, the stride")
        return by

    def why_no_backbone(self, pyramid: Pyramid, height: int, width: int) -> str | None:
        """Say why a layer that shrinks its map cannot stand where it would in a backbone, or None if all can."""
        patch = pyramid.patch
        for stage in sites(pyramid, height, width):
            by = self.shrinks(stage[0])
            if patch % by:
                return _too_small(by, patch)
            if any(self.shrinks(site) > 1 for site in stage[1:]):
                return "a layer after the first of a stage shrinks its map; of the backbone's layers only the first may"
            patch = _BETWEEN
        return None


def _too_small(by: int, patch: int) -> str:
    return f"it shrinks its map by {by}, and patches of {patch} cannot be smaller by as much"


def sites(pyramid: Pyramid, height: int, width: int, *, shrinks: Shrinks = _never) -> list[list[Site]]:
    """Return the sites of every stage for an image of height x width pixels.

    Maps that do not divide are padded up, so a side is halved rounding up. Where the first layer of a stage shrinks its
    map, it stands at a larger one: that of the other layers is the same for all mechanisms.

    Raises:
        PluginError: patches cannot be smaller by as much as a layer shrinks its map.
    """
    stages: list[list[Site]] = []
    before: Site | None = None
    rows, columns, patch = height, width, pyramid.patch
    for index, (dim, depth, heads) in enumerate(zip(pyramid.dims, pyramid.depths, pyramid.heads, strict=True)):
        first = Site(
            height=-(-rows // patch),
            width=-(-columns // patch),
            dim=dim,
            heads=heads,
            stride=pyramid.stride(index),
            depth=depth,
            before=before,
        )
        by = shrinks(first)
        if patch % by:
            raise PluginError(_too_small(by, patch))
        own = patch // by
        larger = replace(first, height=-(-rows // own), width=-(-columns // own), stride=first.stride // by)
        stages.append([larger if by > 1 else first, *(replace(first, layer=layer) for layer in range(1, depth))])
        before = stages[-1][-1]
        rows, columns, patch = first.height, first.width, _BETWEEN
    return stages


def down(stack: Sequence[Site], shrinks: Shrinks) -> list[Site]:
    """Return the sites of layers that follow each other, each at the map that those before it have left."""
    placed, by = list[Site](), 1
    for site in stack:
        placed.append(site.shrunk(by))
        by *= shrinks(placed[-1])
    return placed


def macs_around(
    stages: Sequence[Sequence[Site]],
    *,
    pyramid: Pyramid = SWIN_T_SIZED,
    classes: int = 1000,
    mlp_tokens: Callable[[Site], int] = lambda site: site.tokens,
    shrinks: Shrinks = _never,
) -> int:
    """Return the multiply-adds per image of everything but the mechanisms: shrinking, positions, MLPs, head."""
    total, channels, patch = 0, pyramid.in_channels, pyramid.patch
    for stage in stages:
        first = stage[0]
        shrink = first.tokens * channels * (patch // shrinks(first)) ** 2 * first.dim
        position = first.tokens * first.dim * 9
        mlps = sum(map(mlp_tokens, stage)) * 2 * pyramid.mlp_ratio * first.dim**2
        total += shrink + position + mlps
        channels, patch = first.dim, _BETWEEN
    return total + channels * classes


class BackboneBlock(nn.Module):
    """A mechanism and an MLP, each with a residual."""

    def __init__(self, mechanism: Mechanism, dim: int, mlp_ratio: int) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim)
        )

    def forward(self, x: Map, carry: Any) -> tuple[MapAfter, Any]:  # noqa: ANN401 - the mechanism's own
        """Return the map and what the mechanism hands on."""
        attended, carry = self.mechanism.step(x, carry)
        x = self.mechanism.shortcut(x) + attended
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
        shrinks = build.shrinks if isinstance(build, LayersOf) else _never
        stages = []
        for stage in sites(pyramid, height, width, shrinks=shrinks):
            dim = stage[0].dim
            blocks = [BackboneBlock(build(site), dim, pyramid.mlp_ratio) for site in stage]
            stages.append(BackboneStage(BackboneShrink(channels, dim, patch // shrinks(stage[0])), blocks, dim))
            channels, patch = dim, _BETWEEN
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

    def forward(self, x: Map) -> MapAfter:
        """Return the map after every layer, (B, H, W, C), smaller by what they shrink it."""
        carry: Any = None
        for layer in self.layers:
            assert isinstance(layer, Mechanism)
            attended, carry = layer.step(x, carry)
            x = layer.shortcut(x) + attended
        return x
