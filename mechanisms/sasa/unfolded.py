"""Attention in sliding windows by copying every token's window of keys and of values, as it is usually written."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor

Packed: TypeAlias = Float[Tensor, "batch height width 3 heads head_dim"]
Heads: TypeAlias = Float[Tensor, "batch height width heads head_dim"]
Bias: TypeAlias = Float[Tensor, "heads window window"]


def unfolded(qkv: Packed, bias: Bias) -> Heads:
    """Return softmax(q K^T / sqrt d + bias) V over each token's window, with all windows in memory."""
    q, k, v = qkv.unbind(3)
    batch, height, width, heads, head_dim = q.shape
    window = bias.shape[-1]
    queries = (q * head_dim**-0.5).reshape(-1, 1, head_dim)
    scores = (queries @ _windows(k, window).transpose(1, 2)).view(batch, height, width, heads, window**2)
    scores = scores + (bias.flatten(1) + _outside(q, window))
    attended: Heads = scores.softmax(-1).reshape(-1, 1, window**2) @ _windows(v, window)
    return attended.view(q.shape)


def _windows(maps: Heads, window: int) -> Float[Tensor, "windows offsets head_dim"]:
    """Return the window of every token and head, with zeros for what is outside the map."""
    border = window // 2
    padded = F.pad(maps, (0, 0, 0, 0, border, border, border, border))
    slid = padded.unfold(1, window, 1).unfold(2, window, 1)
    return slid.permute(0, 1, 2, 3, 5, 6, 4).reshape(-1, window**2, maps.shape[-1])


def _outside(like: Heads, window: int) -> Float[Tensor, "height width 1 offsets"]:
    """Return what is added to the scores: 0, and -inf for offsets outside the map."""
    border = window // 2
    padded = F.pad(like.new_zeros(like.shape[1:3]), (border, border, border, border), value=-math.inf)
    return padded.unfold(0, window, 1).unfold(1, window, 1).flatten(2).unsqueeze(2)
