"""Linear spatial-reduction attention: every token to a map pooled to a fixed size, as in PVTv2."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from attnbench.mechanism import Macs, Map, Site
from attnbench.mechanisms.sra.reduced import Backend, Reduced, ReducedAttention, reduced_macs


def _checked(pool: int) -> int:
    if pool < 1:
        raise ValueError(f"pool must be at least 1, got {pool}")
    return pool


class PooledReduction(nn.Module):
    """The map averaged to P x P tokens, and a convolution that mixes their channels."""

    def __init__(self, dim: int, pool: int) -> None:
        """Build convolution and norm, initialised as PVTv2's."""
        super().__init__()
        self.pool = pool
        self.conv = nn.Conv2d(dim, dim, 1)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)
        self.norm = nn.LayerNorm(dim)

    def forward(self, y: Map) -> Reduced:
        """Return the tokens of the reduced map, (B, H, W, C) to (B, P^2, C)."""
        mixed = self.conv(F.adaptive_avg_pool2d(y.permute(0, 3, 1, 2), self.pool))
        return F.gelu(self.norm(mixed.permute(0, 2, 3, 1).flatten(1, 2)))


class LinearSpatialReductionAttention(ReducedAttention):
    """Attention of every token to the map averaged to a fixed size (linear SRA of PVTv2).

    Paper: Wang et al., "PVT v2: Improved Baselines with Pyramid Vision Transformer", CVMJ 2022,
    https://arxiv.org/abs/2106.13797.

    Legend: N = H W tokens, C channels, h heads, d = C / h, P the side of the pooled map, 7.

        y = LayerNorm(x);  r = GELU(LayerNorm(Conv(AvgPool(y)))), the map averaged to P x P, the convolution 1 x 1
        Q = y Wq;  K, V = r Wkv;  z = softmax(Q K^T / sqrt d) V;  out = z Wo

    The pooling is adaptive: key i of a side averages the tokens from floor(i H / P) up to ceil((i + 1) H / P). It takes
    any map as published. Where P does not divide a side, neighbouring keys share tokens, and on a map smaller than P
    tokens stand in several keys.

    Cost per image: 2 (N + P^2) C^2 MACs of projections, 2 N P^2 C of attention products and P^2 C^2 of the convolution,
    linear in N. Pooling multiplies nothing. The scores are h N P^2 elements, which ``unfused`` holds and ``sdpa`` does
    not.

    Differs from the paper:
        - What follows the pooling (convolution, norm, GELU) is as in the authors' code. The cost that the paper gives,
          2 N P^2 C, is that of the attention products alone.
        - There is no dropout, and the depthwise convolutions of PVTv2's MLP are left to the network around the layer.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.linear_sra import LinearSpatialReductionAttention
        >>> layer = LinearSpatialReductionAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> LinearSpatialReductionAttention.macs(layer.site)
        Macs(projections=2007040, attention=1229312, other=200704)
    """

    paper = "Wang et al., CVMJ 2022, arXiv:2106.13797"

    def __init__(self, site: Site, *, pool: int = 7, backend: Backend = "sdpa") -> None:
        """Build the layer, initialised as PVTv2 is.

        Args:
            site: where the layer stands; the map may have any size.
            pool: P, side of the pooled map in tokens.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: the pooled map has no tokens.
        """
        super().__init__(site, reduce=PooledReduction(site.dim, _checked(pool)), backend=backend)

    @classmethod
    def why_unsupported(cls, site: Site, *, pool: int = 7, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the pooled map has no tokens.
        """
        _checked(pool)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, pool: int = 7, **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return 2 (N + P^2) C^2 + 2 N P^2 C + P^2 C^2."""
        keys = _checked(pool) ** 2
        return reduced_macs(site, keys=keys, convolution=keys * site.dim**2)
