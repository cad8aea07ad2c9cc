"""The plain formulation of LaViT: tokens, (B, N, C), as in PVT, whose skeleton it has; all scores in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from plain_qna_vit import MLP
from torch import Tensor, nn

from attnbench.mechanisms.lavit import network as fast
from attnbench.mechanisms.lavit.attention import LessAttention, Reused, Vanilla
from attnbench.mechanisms.lavit.residual import StageResidual
from attnbench.models.network import Images
from attnbench.models.patches import PatchReduction

Tokens = Float[Tensor, "batch tokens dim"]
Scores = Float[Tensor, "batch heads queries keys"]


def _as_map(x: Tokens, rows: int) -> Tensor:
    return x.transpose(1, 2).reshape(len(x), x.shape[2], rows, -1)


def _heads(x: Tokens, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


class Reduction(nn.Module):
    """Keys' tokens: patches of the map as in PVT."""

    def __init__(self, ours: nn.Module, dim: int, rows: int) -> None:
        super().__init__()
        self.rows = rows
        if isinstance(ours, PatchReduction):
            self.conv = nn.Conv2d(dim, dim, ours.reduction, ours.reduction)
            self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tokens) -> Tokens:
        if not hasattr(self, "conv"):
            return x
        return self.norm(self.conv(_as_map(x, self.rows)).flatten(2).transpose(1, 2))


class Residual(nn.Module):
    """The scores of the stage before, those of 2 x 2 neighbouring queries merged."""

    def __init__(self, ours: StageResidual, rows: int) -> None:
        super().__init__()
        assert ours.same_keys
        self.rows = rows
        heads, new_heads = ours.mix.in_channels, ours.mix.out_channels
        self.merge = nn.Conv2d(heads, heads, (4, 1), (4, 1), groups=heads, bias=False)
        self.mix = nn.Conv2d(heads, new_heads, 1)

    def forward(self, scores: Scores) -> Scores:
        batch, heads, queries, keys = scores.shape
        columns = queries // (4 * self.rows)
        patches = scores.reshape(batch, heads, self.rows, 2, columns, 2, keys).transpose(3, 4)
        merged = self.merge(patches.reshape(scores.shape))
        return self.mix(F.layer_norm(merged, merged.shape[1:]))


class Computed(nn.Module):
    """Scores of queries and keys."""

    def __init__(self, ours: Vanilla, dim: int, heads: int, rows: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.residual = None if ours.residual is None else Residual(ours.residual, rows)

    def forward(self, x: Tokens, reduced: Tokens, before: Scores | None) -> Scores:
        query, key = _heads(self.query(x), self.heads), _heads(self.key(reduced), self.heads)
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        return scores if self.residual is None else scores + self.residual(before)


class Transformed(nn.Module):
    """Psi(Theta(A)^T)^T."""

    def __init__(self, ours: Reused) -> None:
        super().__init__()
        _, queries, keys = ours.shape
        self.theta, self.psi = nn.Linear(keys, keys, bias=False), nn.Linear(queries, queries, bias=False)

    def forward(self, x: Tokens, reduced: Tokens, before: Scores) -> Scores:
        return self.psi(self.theta(before).transpose(-2, -1)).transpose(-2, -1)


class Attention(nn.Module):
    def __init__(self, ours: LessAttention) -> None:
        super().__init__()
        dim, self.heads, rows = ours.site.dim, ours.site.heads, ours.site.height
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.reduce = Reduction(ours.reduce, dim, rows)
        self.value, self.project = nn.Linear(dim, dim), nn.Linear(dim, dim)
        reused = isinstance(ours.attend, Reused)
        self.attend = Transformed(ours.attend) if reused else Computed(ours.attend, dim, self.heads, rows)

    def forward(self, x: Tokens, before: Scores | None) -> tuple[Tokens, Scores]:
        x = self.norm(x)
        reduced = self.reduce(x)
        scores = self.attend(x, reduced, before)
        attended = scores.softmax(-1) @ _heads(self.value(reduced), self.heads)
        return self.project(attended.transpose(1, 2).flatten(2)), scores


class Block(nn.Module):
    def __init__(self, ours: fast.Block) -> None:
        super().__init__()
        dim = ours.attention.site.dim
        self.attention = Attention(ours.attention)
        self.mlp = MLP(dim, ours.mlp.fc1.out_features // dim)

    def forward(self, x: Tokens, scores: Scores | None) -> tuple[Tokens, Scores]:
        attended, scores = self.attention(x, scores)
        x = x + attended
        return x + self.mlp(x), scores


class Embed(nn.Module):
    def __init__(self, ours: fast.Embed) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ours.conv.in_channels, ours.conv.out_channels, ours.conv.kernel_size, ours.conv.stride)
        self.norm = nn.LayerNorm(ours.conv.out_channels, eps=1e-6)

    def forward(self, images: Images) -> Tokens:
        return self.norm(self.conv(images).flatten(2).transpose(1, 2))


class Stage(nn.Module):
    def __init__(self, ours: fast.LaViTStage) -> None:
        super().__init__()
        self.embed = Embed(ours.embed)
        self.position = nn.Parameter(torch.zeros_like(ours.position))
        self.blocks = nn.ModuleList(map(Block, ours.blocks))

    def forward(self, x: Images, scores: Scores | None) -> tuple[Tensor, Scores]:
        """Return the map, channels first, and the last scores."""
        x = self.embed(x) + self.position.flatten(0, 1)
        for block in self.blocks:
            x, scores = block(x, scores)
        return _as_map(x, len(self.position)), scores


class PlainLaViT(nn.Module):
    def __init__(self, ours: fast.LaViT) -> None:
        super().__init__()
        self.stages = nn.ModuleList(map(Stage, ours.stages))
        self.norm = nn.LayerNorm(ours.num_features, eps=1e-6)
        self.head = nn.Linear(ours.num_features, ours.num_classes)

    def forward(self, images: Images) -> Tensor:
        x, scores = images, None
        for stage in self.stages:
            x, scores = stage(x, scores)
        return self.head(self.norm(x.flatten(2).transpose(1, 2)).mean(1))
