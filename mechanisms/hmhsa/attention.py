"""Hierarchical attention: within grids of tokens, then from every token to the pooled map, as in HAT-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor

from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.mechanisms.hmhsa.channels_last import MapNorm, Pointwise
from attnbench.mechanisms.hmhsa.grids import concatenated, cut, join, pairs, pooled_tokens
from attnbench.mechanisms.swin.images import some_at_a_time

Size: TypeAlias = int | Literal["auto"]
Partial: TypeAlias = Literal["averaged", "dropped"]
"""What becomes of a pool at the end of a side that covers fewer tokens than the others."""
Tokens: TypeAlias = Float[Tensor, "images tokens dim"]
Projected: TypeAlias = Float[Tensor, "images tokens channels"]
Queries: TypeAlias = Float[Tensor, "images tokens heads head_dim"]
Keys: TypeAlias = Float[Tensor, "images keys heads head_dim"]


def sizes(site: Site, *, grid: Size = "auto", pool: Size = "auto") -> tuple[int, int]:
    """Return the sides of a grid (G1) and of a pool (G2) in tokens; the stage of the site decides what is ``auto``.

    Raises:
        ValueError: a side is smaller than 1.
    """
    stages = {4: (8, 8), 8: (7, 4), 16: (7, 2), 32: (1, 1)}
    published = stages[max((stride for stride in stages if stride <= site.stride), default=4)]
    chosen = tuple(auto if size == "auto" else size for size, auto in zip((grid, pool), published, strict=True))
    for name, size in zip(("grid", "pool"), chosen, strict=True):
        if size < 1:
            raise ValueError(f"{name} must be at least 1 or 'auto', got {size}")
    return chosen[0], chosen[1]


def unfused(q: Queries, k: Keys, v: Keys) -> Tokens:
    """Return softmax(Q K^T / sqrt d) V with the heads side by side, and all the scores in memory."""
    scores = (q * q.shape[-1] ** -0.5).transpose(1, 2) @ k.permute(0, 2, 3, 1)
    attended: Tensor = scores.softmax(-1) @ v.transpose(1, 2)
    return attended.transpose(1, 2).flatten(2)


def fused(q: Queries, k: Keys, v: Keys) -> Tokens:
    """Return softmax(Q K^T / sqrt d) V with the heads side by side, by torch's fused attention."""
    attended: Tensor = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return attended.transpose(1, 2).flatten(2)


class HMHSA(Mechanism):
    """Hierarchical attention: within grids, then to the pooled map (H-MHSA of HAT-Net).

    Paper: Liu et al., "Vision Transformers with Hierarchical Attention", MIR 2024, https://arxiv.org/abs/2106.03180.

    Legend: X the map, N = H W tokens, C channels, h heads, d = C / h, G1 the side of a grid, G2 the side of a pool.

        Q1, K1, V1 = GN(X) Wqkv;  A1 = GN(softmax(Q1 K1^T / sqrt d) V1 + X)  in each grid of G1 x G1 tokens
        Q2 = A1 Wq;  K2, V2 = GN(pool(A1)) Wkv;  A2 = softmax(Q2 K2^T / sqrt d) V2  over the N / G2^2 pooled tokens
        out = (A1 + A2) Wp

    GN normalises an image over all tokens and channels together. Where G1 is 1 the layer is plain multi-head attention
    of GN(X), as in HAT-Net's last stage.

    Cost per image: N C (5 C + 2 G1^2) + 2 (N / G2^2) C (C + N) MACs, which is the paper's eq. 15 and N C^2 for Wp.
    The scores are h N (G1^2 + N / G2^2) elements, which ``unfused`` holds and ``sdpa`` does not.

    Differs from the paper:
        - The equations leave the norms out; they are here as in the authors' code, under the names of their
          checkpoints. ``proj_norm`` is one of these: nothing uses it, so it does not ask for gradients, but published
          weights have it and published sizes count it.
        - Maps of any size. The authors' code needs sides that G1 divides; here what is left over at the bottom and the
          right forms smaller grids, and a last pool averages the tokens that it covers. This equals padding the map
          with tokens that are masked out as keys and left out of the averages, at the cost of neither.
        - ``partial=dropped`` leaves tokens beyond the last whole pool out of keys and values, as the authors' code
          does; published multiply-adds of dense tasks are counted so.
        - ``auto`` follows the stage: G1, G2 = 8, 8 at stride 4; 7, 4 at 8; 7, 2 at 16; plain attention from 32 on,
          which is HAT-Net for classification. Dense tasks use 8, 16; 8, 8; 8, 4 there.
        - There is no dropout.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.hmhsa import HMHSA
        >>> layer = HMHSA(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> HMHSA.macs(layer.site)
        Macs(projections=4415488, attention=2458624, other=0)
    """

    paper = "Liu et al., MIR 2024, arXiv:2106.03180"
    reach = "global"

    def __init__(
        self,
        site: Site,
        *,
        grid: Size = "auto",
        pool: Size = "auto",
        partial: Partial = "averaged",
        backend: Literal["sdpa", "unfused"] = "sdpa",
    ) -> None:
        """Build the layer.

        Args:
            site: where the layer stands; the map may have any size.
            grid: G1, tokens along a side of a grid; 1 makes the layer plain attention over the whole map.
            pool: G2, tokens along a side of what is averaged to one key; has no meaning where the grid is 1.
            partial: whether a pool at the bottom or the right that covers fewer tokens is ``averaged`` to a key as
                well, or ``dropped``, as in the authors' code.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: a side is smaller than 1.
        """
        super().__init__(site)
        self.grid, self.pool = sizes(site, grid=grid, pool=pool)
        self.partial = partial == "averaged"
        self.attend = fused if backend == "sdpa" else unfused
        dim = site.dim
        self.norm = MapNorm(dim)
        self.qkv = Pointwise(dim, 3 * dim)
        self.proj = Pointwise(dim, dim)
        self.proj_norm = MapNorm(dim).requires_grad_(False)
        if self.grid > 1:
            self.grid_norm = MapNorm(dim)
            self.ds_norm = MapNorm(dim)
            self.q = Pointwise(dim, dim)
            self.kv = Pointwise(dim, 2 * dim)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        return some_at_a_time(self._attended, x, widest=3 * self.site.dim)

    def _attended(self, x: Map) -> Map:
        if self.grid == 1:
            attended = self._among(self.qkv(self.norm(x)).flatten(1, 2)).view(x.shape)
        else:
            local = self.grid_norm(self._within_grids(self.norm(x)) + x)
            attended = local + self._to_pooled(local)
        projected: Map = self.proj(attended)
        return projected

    def _among(self, qkv: Projected) -> Tokens:
        """Return what each token gathers from all tokens beside it on the second axis."""
        return self.attend(*self._heads(qkv, 3).unbind(2))

    def _within_grids(self, x: Map) -> Map:
        """Return what each token gathers from its grid."""
        grids = cut(x, self.grid)
        qkv = self.qkv(concatenated([tokens.flatten(0, 1) for tokens in grids], 0))
        parts = qkv.split([tokens.shape[0] * tokens.shape[1] for tokens in grids])
        attended = [self._among(part.view(*tokens.shape[:2], -1)) for part, tokens in zip(parts, grids, strict=True)]
        return join(attended, x.shape, self.grid)

    def _to_pooled(self, x: Map) -> Map:
        """Return what each token gathers from the averages of the pools."""
        pooled = F.avg_pool2d(x.permute(0, 3, 1, 2), self.pool, ceil_mode=self.partial).permute(0, 2, 3, 1)
        (q,) = self._heads(self.q(x).flatten(1, 2), 1).unbind(2)
        k, v = self._heads(self.kv(self.ds_norm(pooled)).flatten(1, 2), 2).unbind(2)
        return self.attend(q, k, v).view(x.shape)

    def _heads(self, tokens: Projected, parts: int) -> Float[Tensor, "images tokens parts heads head_dim"]:
        """Return a view of projected tokens that takes their channels apart."""
        return tokens.view(*tokens.shape[:2], parts, self.site.heads, self.site.head_dim)

    @classmethod
    def macs(
        cls,
        site: Site,
        *,
        grid: Size = "auto",
        pool: Size = "auto",
        partial: Partial = "averaged",
        **options: Any,  # noqa: ANN401, ARG003
    ) -> Macs:
        """Return N C (5 C + 2 G1^2) + 2 (N / G2^2) C (C + N), or 4 N C^2 + 2 N^2 C where G1 is 1.

        Where G1 or G2 does not divide the map, G1^2 is the mean size of a token's grid and N / G2^2 the number of
        pools.
        """
        side, pool_side = sizes(site, grid=grid, pool=pool)
        tokens, dim = site.tokens, site.dim
        if side == 1:
            return Macs(projections=4 * tokens * dim**2, attention=2 * tokens**2 * dim)
        pooled = pooled_tokens(site, pool_side, partial=partial == "averaged")
        return Macs(
            projections=(5 * tokens + 2 * pooled) * dim**2,
            attention=2 * dim * (pairs(site, side) + tokens * pooled),
        )

    @classmethod
    def adaptation(
        cls,
        site: Site,
        *,
        grid: Size = "auto",
        pool: Size = "auto",
        partial: Partial = "averaged",
        **options: Any,  # noqa: ANN401, ARG003
    ) -> str | None:
        """Say that grids or pools at the bottom and right are smaller or dropped, or None if all are whole."""
        side, pool_side = sizes(site, grid=grid, pool=pool)
        if side == 1:
            return None
        sizes_of = {"grids": side, "pools": pool_side}
        unfit = {name: size for name, size in sizes_of.items() if site.height % size or site.width % size}
        dropped = unfit.pop("pools", None) if partial == "dropped" else None
        said = [_cut_short(site, unfit)] if unfit else []
        said += [f"tokens beyond the last whole pool of {dropped}x{dropped} are no keys"] if dropped else []
        return "; ".join(said) or None

    @classmethod
    def why_unsupported(
        cls,
        site: Site,
        *,
        grid: Size = "auto",
        pool: Size = "auto",
        partial: Partial = "averaged",
        **options: Any,  # noqa: ANN401
    ) -> str | None:
        """Say that the channels do not divide into the heads, or that no pool is whole, or None.

        Raises:
            ValueError: a side is smaller than 1.
        """
        side, pool_side = sizes(site, grid=grid, pool=pool)
        if partial == "dropped" and side > 1 and not pooled_tokens(site, pool_side, partial=False):
            return f"no pool of {pool_side}x{pool_side} is whole, and partial=dropped leaves no keys"
        return super().why_unsupported(site, **options)


def _cut_short(site: Site, unfit: Mapping[str, int]) -> str:
    found = " and ".join(f"{name} of {site.height % n or n}x{site.width % n or n}" for name, n in unfit.items())
    return f"the map ends in {found}, instead of {' and '.join(f'{n}x{n}' for n in unfit.values())}"
