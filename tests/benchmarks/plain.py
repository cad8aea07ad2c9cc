"""The plain formulations of the mechanisms: what someone would write first, on the weights of the fast layers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Map
from attnbench.mechanisms.hmhsa import HMHSA
from attnbench.mechanisms.qna import QnA
from attnbench.mechanisms.qna.attention import LearnedQueryAttention


class PlainHMHSA(nn.Module):
    """Hierarchical attention by reshapes and unfused products; a map that does not divide is padded and masked."""

    def __init__(self, layer: HMHSA) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Map) -> Map:
        """Return what the layer returns, (B, H, W, C)."""
        layer = self.layer
        height, width = x.shape[1:3]
        qkv = layer.qkv(layer.norm(x))
        if layer.grid == 1:
            q, k, v = self._heads(qkv.flatten(1, 2), 3)
            attended: Map = layer.proj(_attend(q, k, v).transpose(1, 2).reshape(x.shape))
            return attended
        local = layer.grid_norm(self._within_grids(qkv)[:, :height, :width] + x)
        pooled = layer.ds_norm(_pool(local, layer.pool))
        (q,) = self._heads(layer.q(local).flatten(1, 2), 1)
        k, v = self._heads(layer.kv(pooled).flatten(1, 2), 2)
        both: Map = layer.proj(local + _attend(q, k, v).transpose(1, 2).reshape(x.shape))
        return both

    def _heads(self, tokens: Float[Tensor, "images tokens channels"], parts: int) -> tuple[Tensor, ...]:
        images, count, _ = tokens.shape
        heads = tokens.reshape(images, count, parts, self.layer.site.heads, self.layer.site.head_dim)
        return heads.permute(2, 0, 3, 1, 4).unbind()

    def _within_grids(self, qkv: Float[Tensor, "batch height width channels"]) -> Map:
        batch, height, width, channels = qkv.shape
        side, dim = self.layer.grid, self.layer.site.dim
        padded = F.pad(qkv, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        grids = padded.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
        q, k, v = self._heads(grids.reshape(-1, side * side, channels), 3)
        mask = None
        if padded.shape != qkv.shape:
            present = F.pad(torch.ones(height, width, device=qkv.device), (0, -width % side, 0, -height % side))
            keys = present.reshape(rows, side, columns, side).transpose(1, 2).reshape(-1, 1, 1, side * side)
            mask = torch.where(keys > 0, 0.0, -math.inf).to(qkv.dtype).repeat(batch, 1, 1, 1)
        attended = _attend(q, k, v, mask).transpose(1, 2).reshape(batch, rows, columns, side, side, dim)
        return attended.transpose(2, 3).reshape(batch, rows * side, columns * side, dim)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores + mask
    attended: Tensor = scores.softmax(-1) @ v
    return attended


def _pool(x: Map, side: int) -> Map:
    height, width = x.shape[1:3]
    pad = (0, -width % side, 0, -height % side)
    sums = F.avg_pool2d(F.pad(x.permute(0, 3, 1, 2), pad), side)
    present = F.avg_pool2d(F.pad(x.new_ones(1, 1, height, width), pad), side) if any(pad) else 1.0
    return (sums / present).permute(0, 2, 3, 1)


class PlainQnA(nn.Module):
    """Learned-query attention with the windows of keys' scores and of values unfolded, k^2 of each per token."""

    def __init__(self, layer: QnA) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Map) -> Map:
        """Return what the layer returns, (B, H, W, C)."""
        attention: LearnedQueryAttention = self.layer.attention
        y = self.layer.norm(x)
        queries, heads, side, _ = attention.bias.shape
        query = attention.query.view(queries, heads, -1)
        query = query / ((torch.linalg.vector_norm(query, dim=-1, keepdim=True) + 1e-6) * query.shape[-1] ** 0.5)
        folded = torch.einsum("lhd,hdc->lhc", query, attention.key.view(heads, -1, y.shape[-1]))
        scores = _unfold(F.linear(y, folded.flatten(0, 1)), side, -math.inf)
        scores = scores.view(*y.shape[:3], queries, heads, -1) + attention.bias.flatten(2)
        weights = (scores.softmax(-1) * attention.scale.flatten(2)).sum(3)
        values = _unfold(attention.value(y), side, 0.0).reshape(*y.shape[:3], heads, -1, side * side)
        attended: Map = attention.proj((values @ weights.unsqueeze(-1)).flatten(3))
        return attended


def _unfold(maps: Map, side: int, outside: float) -> Float[Tensor, "batch height width channels offsets"]:
    """Return each token's window of a map, (B, H, W, C, k^2)."""
    border = side // 2
    padded = F.pad(maps, (0, 0, border, border, border, border), value=outside)
    return padded.unfold(1, side, 1).unfold(2, side, 1).flatten(-2)
