"""LaViT, rebuilt from its formulas: attention scores computed in few layers of a stage and transformed in the others.

Paper: Zhang, Liu, Lin, He, "You Only Need Less Attention Each Stage in Vision Transformers", CVPR 2024,
https://arxiv.org/abs/2406.00427.

The authors published neither code nor weights, nor the widths and depths of their networks. Importing this module
registers lavit_tiny, lavit_small and lavit_base with timm: a reimplementation on assumptions. No figure of these
networks is one of LaViT's. A network is built for one image size, ``img_size``.

Assumed, beside what ``attention.py`` lists:
    - The skeleton is PVT's (arXiv:2102.12122): widths 64, 128, 320, 512; heads 1, 2, 5, 8; MLP ratios 8, 8, 4, 4;
      depths 2, 2, 2, 2 (tiny), 3, 4, 6, 3 (small), 3, 4, 18, 3 (base); patches of 4 x 4, then 2 x 2, with a norm; a
      learned position embedding in each stage. There is no class token: the head averages a normed map.
    - The first stage computes all its scores, each later one those of its first layer. Keys are reduced by 8, 4, 2, 1.

At 224 x 224, parameters and multiply-adds, as published and as counted here, the second time without the N x N weights
Psi and Theta and their products:

    variant   published         counted           without Psi, Theta
    tiny      10.9 M   1.6 G    13.13 M  1.93 G   12.46 M  1.85 G
    small     22.4 M   3.3 G    24.37 M  3.81 G   22.31 M  3.56 G
    base      39.6 M   6.1 G    42.12 M  6.46 G   39.57 M  6.06 G

So the skeleton fits small and base only if the published figures leave out what mixes the tokens, or fewer layers do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from timm.models import register_model
from torch import Tensor, nn

from attnbench.mechanism import Map, Site
from attnbench.mechanisms.lavit.attention import LessAttention
from attnbench.models.backbone import sites
from attnbench.models.blocks import MLP, Block, drop_path_rates, linear_head
from attnbench.models.built_by_timm import create
from attnbench.models.built_by_timm import default_cfgs as _default_cfgs
from attnbench.models.network import NOMINAL, Images, PyramidNetwork, Shrunk
from attnbench.models.patches import Patches
from attnbench.models.pyramid import Pyramid

DIMS = (64, 128, 320, 512)
HEADS = (1, 2, 5, 8)
MLP_RATIOS = (8, 8, 4, 4)


class Embed(nn.Module):
    """Patches of the map, or of the image, as tokens: a convolution and a norm."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.LayerNorm(conv.out_channels, eps=1e-6)

    def forward(self, x: Float[Tensor, "batch in_dim rows columns"]) -> Map:
        """Return (B, ceil(H / patch), ceil(W / patch), dim); what patches do not divide is padded with zeros."""
        rows, columns = (-side % patch for side, patch in zip(x.shape[-2:], self.conv.kernel_size, strict=True))
        padded = F.pad(x, (0, columns, 0, rows)) if rows or columns else x  # F.pad by nothing copies
        y: Map = self.norm(self.conv(padded).permute(0, 2, 3, 1))
        return y


class LaViTStage(nn.Module):
    """Tokens, their positions, and blocks of less attention."""

    def __init__(self, embed: Embed, site: Site, blocks: Iterable[Block]) -> None:
        super().__init__()
        self.embed = embed
        self.position = nn.Parameter(torch.empty(site.height, site.width, site.dim))
        self.blocks = nn.ModuleList(blocks)
        nn.init.trunc_normal_(self.position, std=0.02)


class LaViT(PyramidNetwork):
    """LaViT, on assumptions."""

    undecayed = ("position", "theta.weight", "psi.weight")

    def __init__(
        self,
        *,
        depths: Sequence[int] = (3, 4, 6, 3),
        img_size: int | tuple[int, int] = NOMINAL,
        vanilla: int | Literal["auto"] = "auto",
        key_reduction: int | Literal["auto"] = "auto",
        backend: Literal["sdpa", "unfused"] = "sdpa",
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Build the network with random weights.

        Args:
            depths: blocks of each stage.
            img_size: height and width of every image, one number for squares.
            vanilla: layers of each stage that compute scores of their own, as in ``LessAttention``.
            key_reduction: tokens along a side that one key stands for, as in ``LessAttention``.
            backend: implementation of the attention, as in ``LessAttention``.
            in_chans: channels of an image.
            num_classes: classes; 0 for pooled features instead of logits.
            global_pool: ``avg``, or empty for a map instead of a vector.
            drop_rate: dropout before the classifier.
            drop_path_rate: how often the last block's branches are dropped; rises linearly from 0 in the first.
        """
        super().__init__(DIMS, in_chans=in_chans, num_classes=num_classes, global_pool=global_pool, drop_rate=drop_rate)
        height, width = self.img_size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        attention = partial(LessAttention, vanilla=vanilla, key_reduction=key_reduction, backend=backend)
        drop_paths = drop_path_rates(drop_path_rate, sum(depths))
        self.stages = nn.ModuleList()
        for index, places in enumerate(sites(Pyramid(dims=DIMS, depths=tuple(depths), heads=HEADS), height, width)):
            dim, ratio = DIMS[index], MLP_RATIOS[index]
            embed = Embed(Patches(DIMS[index - 1], dim, 2) if index else nn.Conv2d(in_chans, dim, 4, 4))
            blocks = [Block(attention(site), MLP(dim, ratio), next(drop_paths)) for site in places]
            self.stages.append(LaViTStage(embed, places[0], blocks))
        self.norm = nn.LayerNorm(DIMS[-1], eps=1e-6)
        self.head = linear_head(DIMS[-1], num_classes)

    def embed(self, images: Images) -> Map:
        """Return the tokens of the first stage, (B, ceil(H / 4), ceil(W / 4), C).

        Raises:
            ValueError: images of another size than the network was built for.
        """
        if images.shape[-2:] != self.img_size:
            height, width = images.shape[-2:]
            raise ValueError(f"built for images of {self.img_size}, got {(height, width)}; pass img_size to build it")
        x: Map = self._stage(0).embed(images)
        return x

    def stage(self, index: int, x: Map, carry: Any) -> tuple[Shrunk, Any]:  # noqa: ANN401 - scores, or None
        """Return the map after a stage, and the scores of its last layer."""
        stage = self._stage(index)
        if index > 0:
            x = stage.embed(x.permute(0, 3, 1, 2))
        return self.through(stage.blocks, x + stage.position, carry)

    def running(self, index: int) -> list[nn.Module]:
        """Return what makes the tokens, and the blocks."""
        stage = self._stage(index)
        return [stage.embed, *stage.blocks]

    def _stage(self, index: int) -> LaViTStage:
        stage = self.stages[index]
        assert isinstance(stage, LaViTStage)
        return stage


default_cfgs = _default_cfgs(
    "lavit_tiny",
    "lavit_small",
    "lavit_base",
    first_conv="stages.0.embed.conv",
    classifier=LaViT.classifier_name,
    paper="arXiv:2406.00427",
    fixed_input_size=True,
)


@register_model
def lavit_tiny(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return LaViT-T on the assumptions above."""
    return create(LaViT, "lavit_tiny", pretrained=pretrained, **{"depths": (2, 2, 2, 2)} | options)


@register_model
def lavit_small(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return LaViT-S on the assumptions above."""
    return create(LaViT, "lavit_small", pretrained=pretrained, **options)


@register_model
def lavit_base(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return LaViT-B on the assumptions above."""
    return create(LaViT, "lavit_base", pretrained=pretrained, **{"depths": (3, 4, 18, 3)} | options)
