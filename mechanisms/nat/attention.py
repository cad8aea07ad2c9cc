"""Attention of each token to its nearest neighbours, as in NAT."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.nat.lean import Heads, Packed, lean
from attnbench.mechanisms.nat.neighbours import NeighbourSide, NeighbourTiles
from attnbench.mechanisms.swin import flexed

Backend: TypeAlias = Literal["lean", "unfolded", "flex"]


def sides(site: Site, window: int, dilation: int) -> tuple[NeighbourSide, NeighbourSide]:
    """Return both sides of a site's map.

    Raises:
        ValueError: the window is not odd, or the dilation is smaller than 1.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd and at least 1, got {window}")
    if dilation < 1:
        raise ValueError(f"dilation must be at least 1, got {dilation}")
    return NeighbourSide.of(site.height, window, dilation), NeighbourSide.of(site.width, window, dilation)


class NeighborhoodAttention(Mechanism):
    """Attention of each token to its k x k nearest neighbours; the window moves inward at the border (NAT).

    Paper: Hassani et al., "Neighborhood Attention Transformer", CVPR 2023, https://arxiv.org/abs/2204.07143.

    Legend: N = H W tokens, C channels, h heads, d = C / h, k the side of a window; R(p) the k x k tokens nearest to p
    within the map, B a table of (2k - 1)^2 biases for each head.

        y = LayerNorm(x);  z_p = sum_{r in R(p)} softmax_r(q_p^T k_r / sqrt d + B(r - p)) v_r;  out = z Wo

    A window whose centre is near the border is moved inward, and so keeps k^2 tokens; that of ``sasa`` loses those off
    the map. Where a side has no more than k tokens, every token of it sees all.

    Cost per image: 4 N C^2 MACs of projections and 2 N k^2 C of attention products. ``lean`` is counted the same,
    though it multiplies each tile of queries with all keys that any of them sees: about 3.5 times as much at k = 7.

    Memory beside queries, keys, values and result, in elements: ``unfolded`` holds 2 N k^2 C of neighbours and N h k^2
    of scores, and keeps them for training; ``lean``, the default, 2^17 scores at a time on a CPU, and keeps nothing.

    Differs from the paper:
        - A map with sides below k, which the authors pad with zeros, is taken as it is; see ``adaptation``.
        - There is no dropout.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.nat import NeighborhoodAttention
        >>> layer = NeighborhoodAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> NeighborhoodAttention.macs(layer.site)
        Macs(projections=3211264, attention=1229312, other=0)
    """

    paper = "Hassani et al., CVPR 2023, arXiv:2204.07143"
    reach = "local"
    infers_only = ("flex",)

    queries: Tensor
    keys: Tensor
    place: Tensor
    offsets: Tensor

    def __init__(self, site: Site, *, window: int = 7, dilation: int = 1, backend: Backend = "lean") -> None:
        """Build the layer, initialised as NAT is.

        Args:
            site: where the layer stands; the map may have any size.
            window: k, tokens along a side of a window, odd.
            dilation: tokens from one key to the next; less on a side that has not that many times k tokens.
            backend: ``lean`` for tiles of queries, a chunk at a time, ``unfolded`` for a copy of keys and values for
                each neighbour, ``flex`` for FlexAttention, which only infers and is ``lean`` in float64 and in
                exported graphs; same output.

        Raises:
            ValueError: the window is not odd, or the dilation is smaller than 1.
        """
        super().__init__(site)
        rows, columns = sides(site, window, dilation)
        self.area = rows.window * columns.window
        self.around = flexed.Around(
            side=(rows.length, columns.length), window=(rows.window, columns.window),
            dilation=(rows.dilation, columns.dilation), inward=True,
        )  # fmt: skip
        self.norm = nn.LayerNorm(site.dim)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        self.table = nn.Parameter(torch.empty(site.heads, 2 * window - 1, 2 * window - 1))
        nn.init.trunc_normal_(self.table, std=0.02)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.backend = backend
        with torch.device("cpu"):  # where the layer is built without memory, kinds of tiles are counted all the same
            tiles = NeighbourTiles.of((rows, columns)) if backend != "unfolded" else None
            indices = tiles.indices if tiles else _unfolded_indices(rows, columns)
        self.counts = list(tiles.counts) if tiles else []
        for name, index in indices.items():
            self.register_buffer(name, index.to(self.table.device), persistent=False)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x)).view(len(x), -1, 3, self.site.heads, self.site.head_dim)
        attend = self._unfolded if self.backend == "unfolded" else self._lean
        if self.backend == "flex" and flexed.may(qkv):
            attend = self._flexed
        out: Map = self.proj(attend(qkv).reshape(x.shape))
        return out

    def _flexed(self, qkv: Packed) -> Heads:
        attended = flexed.in_map(qkv.permute(2, 0, 3, 1, 4), self.table.to(qkv.dtype), self.around)
        return attended.transpose(1, 2)

    def _lean(self, qkv: Packed) -> Heads:
        return lean(
            qkv, self.table.to(qkv.dtype), queries=self.queries, keys=self.keys, place=self.place,
            offsets=self.offsets, counts=self.counts, area=self.area,
        )  # fmt: skip

    def _unfolded(self, qkv: Packed) -> Heads:
        """Return the same with a copy of keys and values for each neighbour of each token."""
        q, k, v = qkv.unbind(2)
        shape = (len(qkv), *self.keys.shape, *q.shape[2:])
        k, v = (each.index_select(1, self.keys.flatten()).view(shape).transpose(2, 3) for each in (k, v))
        bias = self.table.flatten(1)[:, self.offsets].transpose(0, 1).unsqueeze(2)
        scores = (q * q.shape[-1] ** -0.5).unsqueeze(3) @ k.transpose(-2, -1) + bias
        attended: Heads = (scores.softmax(-1) @ v).squeeze(3)
        return attended

    @classmethod
    def _chosen(cls, _site: Site, options: dict[str, Any]) -> tuple[int, int]:
        """Return window and dilation under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        return chosen["window"], chosen["dilation"]

    @classmethod
    def _sides(cls, site: Site, options: dict[str, Any]) -> tuple[NeighbourSide, NeighbourSide]:
        return sides(site, *cls._chosen(site, options))

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the window is not odd, or the dilation is smaller than 1.
        """
        cls._sides(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 N C^2 + 2 N k^2 C, with fewer keys where a side is shorter than the window."""
        rows, columns = cls._sides(site, options)
        return Macs(
            projections=4 * site.tokens * site.dim**2,
            attention=2 * site.tokens * rows.window * columns.window * site.dim,
        )

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that a side is shorter than the window, or too short for the dilation; None where both fit."""
        window, dilation = cls._chosen(site, options)
        rows, columns = cls._sides(site, options)
        said = []
        if rows.window < window or columns.window < window:
            said.append(f"windows of {rows.window}x{columns.window}, not {window}x{window}")
        if rows.dilation < dilation or columns.dilation < dilation:
            said.append(f"dilated by {rows.dilation}x{columns.dilation}, not {dilation}")
        return "; ".join(said) or None


def _unfolded_indices(rows: NeighbourSide, columns: NeighbourSide) -> dict[str, Tensor]:
    """Return the neighbours of every token of a map, and where their biases stand in the table."""
    (row, down), (column, across) = rows.keys(), columns.keys()

    def crossed(one: Tensor, other: Tensor) -> Tensor:
        return (one[:, None, :, None] + other[None, :, None, :]).flatten(2).flatten(0, 1)

    return {
        "keys": crossed(row * columns.length, column),
        "offsets": crossed(down * (2 * rows.kernel - 1), across),
    }
