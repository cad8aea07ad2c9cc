"""HAT-Net: four stages of hierarchical attention and depthwise-convolution MLPs.

Paper: Liu et al., "Vision Transformers with Hierarchical Attention", MIR 2024, https://arxiv.org/abs/2106.03180.

Importing this module registers hat_net_tiny, hat_net_small, hat_net_medium and hat_net_large with timm. Parameters
have the names of the authors' checkpoints. Images may have any size.

At 224 x 224, with the multiply-adds as published (attention products left out) and in full:

    variant   parameters   G MACs published   G MACs
    tiny      12.7 M       2.0                2.13
    small     25.7 M       4.3                4.55
    medium    42.9 M       8.3                8.78
    large     63.1 M       11.5               12.07

For dense tasks the paper has grids of 8, 8, 8 and pools of 16, 8, 4 in the first three stages::

    timm.create_model("hat_net_small", features_only=True, dense=True)

Differs from the paper:
    - ``drop_rate`` is the dropout before the classifier, as in timm, 0.2 if not given. There is none in the blocks.
    - The attention is ``HMHSA`` of this package, with its differences: maps need not divide into grids.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

from timm.layers import DropPath
from timm.models import register_model
from torch import nn

from attnbench.mechanism import Map
from attnbench.mechanisms.hmhsa.attention import HMHSA, Partial
from attnbench.models.backbone import sites
from attnbench.models.blocks import draw, drop_path_rates, linear_head
from attnbench.models.built_by_timm import create
from attnbench.models.built_by_timm import default_cfgs as _default_cfgs
from attnbench.models.network import NOMINAL, STRIDES, Images, PyramidNetwork, Shrunk
from attnbench.models.pyramid import Pyramid

STEM_DIM = 16
EXPANSIONS = (8, 8, 4, 4)
"""Hidden channels of an MLP over the map's, in the stages."""
GRIDS = {False: (8, 7, 7, 1), True: (8, 8, 8, 1)}
"""G1 of the stages, for classification and for dense tasks."""
POOLS = {False: (8, 4, 2, 1), True: (16, 8, 4, 1)}
"""G2 of the stages, likewise."""


def norm(dim: int) -> nn.GroupNorm:
    """Return the norm of an image over all positions and channels at once."""
    return nn.GroupNorm(1, dim, eps=1e-6)


class ConvMLP(nn.Module):
    """An MLP with a depthwise convolution between its two layers, a norm before and after."""

    def __init__(self, dim: int, hidden: int, kernel_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(norm(dim), nn.Conv2d(dim, hidden, 1, bias=False), nn.SiLU(inplace=True))
        depthwise = nn.Conv2d(hidden, hidden, kernel_size, padding=kernel_size // 2, groups=hidden, bias=False)
        self.conv2 = nn.Sequential(depthwise, nn.SiLU(inplace=True))
        self.conv3 = nn.Sequential(nn.Conv2d(hidden, dim, 1, bias=False), norm(dim))

    def forward(self, x: Map) -> Map:
        """Return (B, H, W, C)."""
        y: Map = self.conv3(self.conv2(self.conv1(x.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1)
        return y


class HATBlock(nn.Module):
    """Attention and an MLP, each with a residual."""

    def __init__(self, attention: HMHSA, mlp: ConvMLP, drop_path: float) -> None:
        super().__init__()
        self.attn = attention
        self.conv = mlp
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Map, carry: Any) -> tuple[Map, Any]:  # noqa: ANN401 - handed through
        """Return the map and the carry."""
        attended, carry = self.attn.step(x, carry)
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.conv(x)), carry


class Downsample(nn.Module):
    """Halves the map, rounding up, and widens it."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, dim, 3, stride=2, padding=1)
        self.norm = norm(dim)

    def forward(self, x: Map) -> Shrunk:
        """Return (B, ceil(H / 2), ceil(W / 2), dim)."""
        y: Shrunk = self.norm(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        return y


class HATNet(PyramidNetwork):
    """HAT-Net."""

    classifier_name = "classifier.1"
    stages_name = "blocks"

    def __init__(
        self,
        *,
        dims: tuple[int, ...] = (64, 128, 320, 512),
        depths: tuple[int, ...] = (2, 3, 8, 3),
        head_dim: int = 64,
        kernel_sizes: Sequence[int] = (3, 3, 3, 3),
        dense: bool = False,
        grids: Sequence[int] | None = None,
        pools: Sequence[int] | None = None,
        partial: Partial = "averaged",
        backend: Literal["sdpa", "unfused"] = "sdpa",
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.2,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Build the network with random weights.

        Args:
            dims: channels of each stage.
            depths: blocks of each stage.
            head_dim: channels per head.
            kernel_sizes: sides of the MLPs' depthwise convolutions in each stage.
            dense: take the paper's grids and pools for dense tasks, not those for classification.
            grids: G1 of each stage, tokens along a side of a grid, instead of those; 1 for the whole map.
            pools: G2 of each stage, tokens along a side of what is averaged to one key, instead of those.
            partial: what becomes of pools at the bottom and the right that cover fewer tokens, as in ``HMHSA``.
            backend: implementation of the attention, as in ``HMHSA``.
            in_chans: channels of an image.
            num_classes: classes; 0 for pooled features instead of logits.
            global_pool: ``avg``, or empty for a map instead of a vector.
            drop_rate: dropout before the classifier.
            drop_path_rate: how often the last block's branches are dropped; rises linearly from 0 in the first.
        """
        super().__init__(dims, in_chans=in_chans, num_classes=num_classes, global_pool=global_pool, drop_rate=drop_rate)
        grids, pools = grids or GRIDS[dense], pools or POOLS[dense]
        self.patch_embed = nn.Sequential(
            nn.Conv2d(in_chans, STEM_DIM, 3, stride=2, padding=1),
            norm(STEM_DIM),
            nn.SiLU(inplace=True),
            nn.Conv2d(STEM_DIM, dims[0], 3, stride=2, padding=1),
        )
        self.blocks = nn.ModuleList()
        drop_paths = drop_path_rates(drop_path_rate, sum(depths))
        heads = tuple(dim // head_dim for dim in dims)
        for index, places in enumerate(sites(Pyramid(dims=dims, depths=depths, heads=heads), *NOMINAL)):
            mlp = functools.partial(ConvMLP, dims[index], EXPANSIONS[index] * dims[index], kernel_sizes[index])
            attention = functools.partial(HMHSA, grid=grids[index], pool=pools[index], partial=partial, backend=backend)
            self.blocks.append(nn.ModuleList(HATBlock(attention(site), mlp(), next(drop_paths)) for site in places))
        self.ds2, self.ds3, self.ds4 = (Downsample(*pair) for pair in pairwise(dims))
        # The authors' dropout is classifier.0; here it is in forward_head.
        self.classifier = nn.Sequential(nn.Identity(), linear_head(dims[-1], num_classes))
        self.apply(draw)

    def embed(self, images: Images) -> Map:
        """Return the tokens of the first stage, (B, ceil(H / 4), ceil(W / 4), C)."""
        # Blocks keep channels last in memory: a first map that does not would be rearranged in each of them.
        x: Map = self.patch_embed(images).permute(0, 2, 3, 1).contiguous()
        return x

    def stage(self, index: int, x: Map, carry: Any) -> tuple[Shrunk, Any]:  # noqa: ANN401 - handed through
        """Return the map after a stage and the carry."""
        for shrink in self._shrinks(index):
            x = shrink(x)
        return self.through(self._blocks(index), x, carry)

    def running(self, index: int) -> list[nn.Module]:
        """Return what shrinks the map, if anything, and the blocks."""
        return [*self._shrinks(index), *self._blocks(index)]

    def _shrinks(self, index: int) -> list[nn.Module]:
        return [self.get_submodule(f"ds{index + 1}")] if index > 0 else []

    def _blocks(self, index: int) -> nn.ModuleList:
        blocks = self.blocks[index]
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    def keep_stages(self, count: int) -> None:
        """Remove the stages after the first so many, and what shrinks the map for them."""
        super().keep_stages(count)
        for index in range(count, len(STRIDES)):
            delattr(self, f"ds{index + 1}")


default_cfgs = _default_cfgs(
    "hat_net_tiny",
    "hat_net_small",
    "hat_net_medium",
    "hat_net_large",
    first_conv="patch_embed.0",
    classifier=HATNet.classifier_name,
    paper="arXiv:2106.03180",
)


@register_model
def hat_net_tiny(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return HAT-Net-T."""
    variant = {"dims": (48, 96, 240, 384), "depths": (2, 2, 6, 3), "head_dim": 48}
    return create(HATNet, "hat_net_tiny", pretrained=pretrained, **variant | options)


@register_model
def hat_net_small(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return HAT-Net-S."""
    return create(HATNet, "hat_net_small", pretrained=pretrained, **options)


@register_model
def hat_net_medium(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return HAT-Net-M."""
    variant = {"depths": (3, 6, 18, 3), "kernel_sizes": (5, 3, 5, 3)}
    return create(HATNet, "hat_net_medium", pretrained=pretrained, **variant | options)


@register_model
def hat_net_large(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return HAT-Net-L."""
    variant = {"dims": (64, 128, 320, 640), "depths": (3, 8, 27, 3)}
    return create(HATNet, "hat_net_large", pretrained=pretrained, **variant | options)
