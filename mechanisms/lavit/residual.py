"""How the last scores of one stage become a residual on the first scores of the next."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnbench.mechanisms.lavit.plan import Grid, Plan, window

OldScores: TypeAlias = Float[Tensor, "batch old_heads old_queries old_keys"]
NewScores: TypeAlias = Float[Tensor, "batch heads queries keys"]


class StageResidual(nn.Module):
    """``Conv1x1(Norm(DWConv(A)))`` with heads as channels.

    The depthwise convolution merges non-overlapping patches of the score matrix: kernel and stride are the number of
    old queries and old keys that a new one stands for, 4 x 1 or 4 x 4 where the map halves. For a patch to be
    neighbours on the map, both axes are first put in the order of the new tokens. Where sides do not divide, the
    windows of old tokens are spread evenly from edge to edge and overlap; where the new side is longer, they repeat.
    """

    queries: Int[Tensor, " patches"]
    keys: Int[Tensor, " patches"]

    def __init__(self, old: Plan, new: Plan) -> None:
        super().__init__()
        self.register_buffer("queries", _merging_order(old.query_grid, new.query_grid), persistent=False)
        self.register_buffer("keys", _merging_order(old.key_grid, new.key_grid), persistent=False)
        self.same_keys = old.key_grid == new.key_grid
        patch = (
            math.prod(window(old.query_grid, new.query_grid)),
            math.prod(window(old.key_grid, new.key_grid)),
        )
        heads = old.site.heads
        self.merge = nn.Conv2d(heads, heads, patch, patch, groups=heads, bias=False)
        self.mix = nn.Conv2d(heads, new.site.heads, 1)
        # An untrained stage then starts from its own scores, which torch's default would outweigh ten times.
        nn.init.zeros_(self.mix.weight)
        assert self.mix.bias is not None
        nn.init.zeros_(self.mix.bias)

    def forward(self, scores: OldScores) -> NewScores:
        """Return what to add to the new scores."""
        scores = scores.index_select(2, self.queries)
        if not self.same_keys:
            scores = scores.index_select(3, self.keys)
        merged = self.merge(scores)
        # No gain and bias of its own: the 1x1 convolution that follows has both.
        residual: NewScores = self.mix(F.layer_norm(merged, merged.shape[1:]))
        return residual


def _merging_order(old: Grid, new: Grid) -> Int[Tensor, " patches"]:
    """Return the old tokens, those of one new token next to each other."""
    down, across = window(old, new)
    rows = _windows(old[0], new[0], down)
    columns = _windows(old[1], new[1], across)
    return (rows[:, None, :, None] * old[1] + columns[None, :, None, :]).flatten()


def _windows(old: int, new: int, size: int) -> Int[Tensor, "new size"]:
    starts = torch.arange(new) * (old - size) // max(new - 1, 1)
    return starts[:, None] + torch.arange(size)
