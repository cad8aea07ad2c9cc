"""Multi-head self-attention over the whole map, as in ViT and DeiT."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

Heads: TypeAlias = Float[Tensor, "batch heads tokens head_dim"]
Keys: TypeAlias = Float[Tensor, "batch heads keys head_dim"]


def unfused_attention(q: Heads, k: Keys, v: Keys) -> Heads:
    """Return softmax(Q K^T / sqrt d) V in three steps, with all the scores in memory."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    attended: Heads = scores.softmax(-1) @ v
    return attended


class MHSA(Mechanism):
    """Multi-head self-attention of every token to every token (ViT, DeiT).

    Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, https://arxiv.org/abs/2010.11929;
    DeiT, https://arxiv.org/abs/2012.12877.

    Legend: N = H W tokens, C channels, h heads, d = C / h.

        y = LayerNorm(x);  Q, K, V = y Wq, y Wk, y Wv;  z = softmax(Q K^T / sqrt d) V;  out = z Wo

    Cost per image: 4 N C^2 MACs of projections and 2 N^2 C of attention products. The scores are h N^2 elements:
    ``unfused`` holds them, and its softmax for the backward pass; ``sdpa`` works through them in tiles.

    Differs from the paper:
        - There is no class token: every token is a token of the map.
        - There is no dropout, and position encoding is left to the network around the layer.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.mhsa import MHSA
        >>> layer = MHSA(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> MHSA.macs(layer.site)
        Macs(projections=3211264, attention=4917248, other=0)
    """

    paper = "Dosovitskiy et al., ICLR 2021, arXiv:2010.11929"
    reach = "global"

    def __init__(self, site: Site, *, qkv_bias: bool = True, backend: Literal["sdpa", "unfused"] = "sdpa") -> None:
        """Build the layer, initialised as DeiT is.

        Args:
            site: where the layer stands; the map may have any size.
            qkv_bias: give queries, keys and values a bias.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.
        """
        super().__init__(site)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused_attention
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim, bias=qkv_bias)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x)).view(x.shape[0], -1, 3, self.site.heads, self.site.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        attended: Map = self.proj(self.attend(q, k, v).transpose(1, 2).reshape(x.shape))
        return attended

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401, ARG003 - no option changes the count
        """Return 4 N C^2 + 2 N^2 C."""
        return Macs(projections=4 * site.tokens * site.dim**2, attention=2 * site.tokens**2 * site.dim)
