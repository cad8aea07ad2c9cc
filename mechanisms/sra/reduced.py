"""Attention of every token to the tokens of a reduced map: what PVT's and PVTv2's layers have in common.

How the map is reduced is theirs; see ``mechanisms/sra/attention.py`` and ``mechanisms/linear_sra/attention.py``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

Backend: TypeAlias = Literal["sdpa", "unfused"]
Reduced: TypeAlias = Float[Tensor, "batch keys dim"]
Queries: TypeAlias = Float[Tensor, "batch heads tokens head_dim"]
Keys: TypeAlias = Float[Tensor, "batch heads keys head_dim"]


def unfused(q: Queries, k: Keys, v: Keys) -> Queries:
    """Return softmax(Q K^T / sqrt d) V in three steps, with all the scores in memory."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    attended: Queries = scores.softmax(-1) @ v
    return attended


class ReducedAttention(Mechanism):
    """Queries from every token of a normed map, keys and values from what it is reduced to."""

    reach = "global"

    def __init__(self, site: Site, *, reduce: nn.Module, backend: Backend) -> None:
        """Build the projections, initialised as PVT's are.

        Args:
            site: where the layer stands; the map may have any size.
            reduce: from the normed map, (B, H, W, C), to the tokens of the reduced one, (B, M, C).
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.
        """
        super().__init__(site)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.q = nn.Linear(site.dim, site.dim)
        self.reduce = reduce
        self.kv = nn.Linear(site.dim, 2 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.q, self.kv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        y = self.norm(x)
        apart = (self.site.heads, self.site.head_dim)
        q = self.q(y).view(x.shape[0], -1, *apart).transpose(1, 2)
        k, v = self.kv(self.reduce(y)).view(x.shape[0], -1, 2, *apart).permute(2, 0, 3, 1, 4).unbind()
        attended: Map = self.proj(self.attend(q, k, v).transpose(1, 2).reshape(x.shape))
        return attended


def reduced_macs(site: Site, *, keys: int, convolution: int) -> Macs:
    """Return 2 (N + M) C^2 + 2 N M C and the reducing convolution's, for M keys."""
    return Macs(
        projections=2 * (site.tokens + keys) * site.dim**2,
        attention=2 * site.tokens * keys * site.dim,
        other=convolution,
    )
