"""QnA-ViT: learned-query attention on large maps, window attention on small ones, a learned query where maps shrink.

Paper: Arar et al., "Learned Queries for Efficient Local Attention", CVPR 2022, https://arxiv.org/abs/2112.11435.

Importing this module registers qna_vit_tiny, qna_vit_tiny_7x7, qna_vit_small and qna_vit_base with timm. Images may
have any size.

The authors' Flax checkpoints load as they are; ``flax_names.py`` says what becomes what. timm hands a file to the
network if its name ends in .npz, whatever is in it, and takes any other name but .safetensors for PyTorch's format,
so Flax's msgpack needs such a name, a link for example, or is read first, which also serves other images and classes::

    timm.create_model("qna_vit_tiny", checkpoint_path="linked_to_checkpoint_300.npz")
    timm.create_model("qna_vit_tiny").load_pretrained(FILE)
    weights = attnbench.models.tensors.read(FILE)
    timm.create_model(
        "qna_vit_tiny", pretrained=True, pretrained_cfg_overlay={"state_dict": weights}, num_classes=10, in_chans=1
    )

At 224 x 224, as published and counted with all products:

    variant     parameters published   counted     G MACs published   counted
    tiny        16 M                   15.716 M    2.5                2.425
    tiny_7x7    16 M                   15.754 M    2.6                2.514
    small       25 M                   24.972 M    4.4                4.347
    base        56 M                   55.670 M    9.7                9.509

A stage's map for dense tasks is the one before it is shrunk for the next stage.

Differs from the paper:
    - Images that patches do not divide are padded all around, and maps that windows do not divide end in smaller
      windows (``local.py``); the authors' code takes neither.
    - The learned-query attention is ``LearnedQueryAttention`` of this package, with its differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from timm.layers import DropPath
from timm.models import register_model
from torch import nn

from attnbench.mechanism import Map, Site
from attnbench.mechanisms.qna.attention import LearnedQueryAttention, QnA
from attnbench.mechanisms.qna.drawing import draw_as_released
from attnbench.mechanisms.qna.flax_names import from_flax
from attnbench.mechanisms.qna.local import LocalAttention
from attnbench.models.backbone import sites
from attnbench.models.blocks import MLP, Block, drop_path_rates, linear_head
from attnbench.models.built_by_timm import create
from attnbench.models.built_by_timm import default_cfgs as _default_cfgs
from attnbench.models.network import NOMINAL, Images, PyramidNetwork, Shrunk
from attnbench.models.pyramid import Pyramid

PATCH = 4
QUERIES = 2
MLP_RATIO = 4
WINDOWS = (7, 7, 14, 7)
"""Sides of the windows of local attention, in the stages."""


class StridedAttention(nn.Module):
    """Learned-query attention that halves the map, after a norm."""

    def __init__(self, in_dim: int, dim: int, heads: int, kernel_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim, eps=1e-6)
        self.attention = LearnedQueryAttention(in_dim, dim, heads, kernel_size=kernel_size, queries=QUERIES, stride=2)

    def forward(self, x: Map) -> Shrunk:
        """Return (B, ceil(H / 2), ceil(W / 2), dim)."""
        attended: Shrunk = self.attention(self.norm(x))
        return attended


class QnAShrink(nn.Module):
    """A block whose attention halves the map and widens it, rounding up, with a strided convolution around it."""

    def __init__(self, in_dim: int, dim: int, heads: int, kernel_size: int, drop_path: float) -> None:
        super().__init__()
        self.skip = nn.Conv2d(in_dim, dim, 1, stride=2, bias=False)
        self.attention = StridedAttention(in_dim, dim, heads, kernel_size)
        self.mlp = MLP(dim, MLP_RATIO, "tanh")
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Map, carry: Any) -> tuple[Shrunk, Any]:  # noqa: ANN401 - handed through
        """Return the map, (B, ceil(H / 2), ceil(W / 2), dim), and the carry."""
        # The convolution ``skip`` as the product that it is: oneDNN takes longer.
        x = self.attention(x) + F.linear(x[:, ::2, ::2], self.skip.weight.flatten(1))
        return x + self.drop_path(self.mlp(x)), carry


class QnAStage(nn.Module):
    """What shrinks the map, blocks of local attention, blocks of learned queries."""

    def __init__(
        self,
        site: Site,
        in_dim: int | None,
        *,
        local: Callable[[], LocalAttention],
        local_depth: int,
        learned_depth: int,
        kernel_size: int,
        drop_paths: Iterator[float],
    ) -> None:
        super().__init__()
        dim, heads = site.dim, site.heads
        self.shrink = None if in_dim is None else QnAShrink(in_dim, dim, heads, kernel_size, next(drop_paths))
        learned = partial(QnA, site, window=kernel_size, queries=QUERIES)
        self.local, self.learned = (
            nn.ModuleList(Block(attention(), MLP(dim, MLP_RATIO, "tanh"), next(drop_paths)) for _ in range(depth))
            for attention, depth in ((local, local_depth), (learned, learned_depth))
        )

    @property
    def blocks(self) -> list[nn.Module]:
        """Everything in the order in which it runs."""
        return [*([self.shrink] if self.shrink else []), *self.local, *self.learned]


class QnAViT(PyramidNetwork):
    """QnA-ViT."""

    undecayed = ("scale", "bias", "table")

    def __init__(
        self,
        *,
        base_dim: int = 64,
        heads: Sequence[int] = (8, 16, 32, 64),
        local_heads: Sequence[int] = (2, 4, 8, 16),
        local_depths: Sequence[int] = (0, 0, 4, 2),
        learned_depths: Sequence[int] = (2, 3, 2, 0),
        kernel_size: int = 3,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Build the network with random weights.

        Args:
            base_dim: channels of the first stage; each later one has twice as many.
            heads: heads of the learned-query attention of each stage.
            local_heads: heads of the local attention of each stage.
            local_depths: blocks of local attention of each stage.
            learned_depths: blocks of learned queries of each stage, the one that shrinks the map not counted.
            kernel_size: k, tokens along a side of a learned query's window.
            in_chans: channels of an image.
            num_classes: classes; 0 for pooled features instead of logits.
            global_pool: ``avg``, or empty for a map instead of a vector.
            drop_rate: dropout before the classifier.
            drop_path_rate: how often the last block's branches are dropped; rises linearly from 0 in the first.
        """
        dims = tuple(base_dim * 2**index for index in range(len(heads)))
        super().__init__(dims, in_chans=in_chans, num_classes=num_classes, global_pool=global_pool, drop_rate=drop_rate)
        self.stem = nn.Conv2d(in_chans, base_dim, PATCH, PATCH, bias=False)
        drop_paths = drop_path_rates(drop_path_rate, len(dims) - 1 + sum(local_depths) + sum(learned_depths))
        places = sites(Pyramid(dims=dims, depths=(1,) * len(dims), heads=tuple(heads)), *NOMINAL)
        self.stages = nn.ModuleList()
        for index, (site,) in enumerate(places):
            local = partial(LocalAttention, replace(site, heads=local_heads[index]), window=WINDOWS[index])
            stage = QnAStage(
                site,
                dims[index - 1] if index else None,
                local=local,
                local_depth=local_depths[index],
                learned_depth=learned_depths[index],
                kernel_size=kernel_size,
                drop_paths=drop_paths,
            )
            self.stages.append(stage)
        self.norm = nn.LayerNorm(dims[-1], eps=1e-6)
        self.head = linear_head(dims[-1], num_classes)
        self.apply(draw_as_released)

    def embed(self, images: Images) -> Map:
        """Return the tokens of the first stage, (B, ceil(H / 4), ceil(W / 4), C)."""
        rows, columns = (-side % PATCH for side in images.shape[-2:])
        if rows or columns:  # F.pad by nothing copies
            images = F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        # Blocks keep channels last in memory: a first map that does not would be rearranged in each of them.
        x: Map = self.stem(images).permute(0, 2, 3, 1).contiguous()
        return x

    def stage(self, index: int, x: Map, carry: Any) -> tuple[Shrunk, Any]:  # noqa: ANN401 - handed through
        """Return the map after a stage and the carry."""
        return self.through(self.running(index), x, carry)

    def running(self, index: int) -> list[nn.Module]:
        """Return the blocks of a stage in the order in which they run."""
        stage = self.stages[index]
        assert isinstance(stage, QnAStage)
        return stage.blocks

    def renamed(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tensors of an authors' Flax checkpoint under this network's names; its own as they are.

        Raises:
            DataError: a Flax checkpoint lacks a tensor without which another one's layout is unknown.
        """
        return from_flax(tensors) if any("/" in name for name in tensors) else dict(tensors)


default_cfgs = _default_cfgs(
    "qna_vit_tiny",
    "qna_vit_tiny_7x7",
    "qna_vit_small",
    "qna_vit_base",
    first_conv="stem",
    classifier=QnAViT.classifier_name,
    paper="arXiv:2112.11435",
)


@register_model
def qna_vit_tiny(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return QnA-ViT-T."""
    variant = {"drop_path_rate": 0.05}
    return create(QnAViT, "qna_vit_tiny", pretrained=pretrained, **variant | options)


@register_model
def qna_vit_tiny_7x7(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return QnA-ViT-T with learned queries over 7 x 7 tokens."""
    variant = {"kernel_size": 7, "drop_path_rate": 0.05}
    return create(QnAViT, "qna_vit_tiny_7x7", pretrained=pretrained, **variant | options)


@register_model
def qna_vit_small(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return QnA-ViT-S."""
    variant = {"local_depths": (0, 0, 12, 2), "learned_depths": (2, 3, 6, 0), "drop_path_rate": 0.2}
    return create(QnAViT, "qna_vit_small", pretrained=pretrained, **variant | options)


@register_model
def qna_vit_base(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401
    """Return QnA-ViT-B."""
    variant = {
        "base_dim": 96,
        "heads": (6, 12, 24, 48),
        "local_heads": (3, 6, 12, 24),
        "local_depths": (0, 0, 12, 2),
        "learned_depths": (2, 3, 6, 0),
        "drop_path_rate": 0.5,
    }
    return create(QnAViT, "qna_vit_base", pretrained=pretrained, **variant | options)
