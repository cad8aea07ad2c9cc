"""The attention of QnA-ViT's late stages: within windows that do not shift, with a relative position bias.

Legend: N tokens, C channels, h heads, M the side of a window. At 224 x 224 the network's windows cover the map.

Cost per image: 4 N C^2 MACs of projections and 2 M^2 N C of attention products.

Differs from the authors' code: the map need not divide into windows. What is left over at the bottom and the right
forms smaller windows, and these read their part of the same table.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import nn

from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.mechanisms.hmhsa.grids import cut, join, pairs, spans
from attnbench.mechanisms.qna.drawing import lecun_normal
from attnbench.mechanisms.swin.biased import Attended, Bias, Packed, fused


class LocalAttention(Mechanism):
    """Attention within windows, with a relative position bias and no other biases."""

    paper = "Arar et al., CVPR 2022, arXiv:2112.11435"
    reach = "local"
    undecayed = ("table",)

    def __init__(self, site: Site, *, window: int = 7) -> None:
        """Build the layer.

        Args:
            site: where the layer stands; the map may have any size.
            window: side M of a window in tokens.
        """
        super().__init__(site)
        self.window = window
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim, bias=False)
        self.proj = nn.Linear(site.dim, site.dim, bias=False)
        self.table = nn.Parameter(torch.zeros(site.heads, 2 * window - 1, 2 * window - 1))
        for linear in (self.qkv, self.proj):
            lecun_normal(linear.weight)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        windows = cut(self.qkv(self.norm(x)), self.window)
        sizes = [
            (down.piece, across.piece)
            for down, across in product(spans(x.shape[1], self.window), spans(x.shape[2], self.window))
        ]
        packed = [tokens.view(*tokens.shape[:2], 3, self.site.heads, self.site.head_dim) for tokens in windows]
        attended = [self._attend(tokens, *size) for tokens, size in zip(packed, sizes, strict=True)]
        y: Map = self.proj(join(attended, x.shape, self.window))
        return y

    def _attend(self, qkv: Packed, rows: int, columns: int) -> Attended:
        bias = self._bias(rows, columns)
        return fused(qkv, bias, bias.new_zeros(bias.shape[1:]))

    def _bias(self, rows: int, columns: int) -> Bias:
        """Return the table's entry for the offset from every token of a window to every other.

        Entry [i, j, p, q] of the slid table is [i + p, j + q] of its middle part; with p and q counted backwards that
        is the offset from key to query.
        """
        down, across = (slice(self.window - side, self.window + side - 1) for side in (rows, columns))
        slid = self.table[:, down, across].unfold(1, rows, 1).unfold(2, columns, 1)
        return slid.flip(-2, -1).reshape(-1, rows * columns, rows * columns)

    @classmethod
    def macs(cls, site: Site, *, window: int = 7, **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return 4 N C^2 + 2 M^2 N C, M^2 being the mean size of a token's window."""
        return Macs(projections=4 * site.tokens * site.dim**2, attention=2 * site.dim * pairs(site, window))
