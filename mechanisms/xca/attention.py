"""Attention of channels to channels over the whole map, as in XCiT."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

Packed: TypeAlias = Float[Tensor, "batch tokens 3 heads head_dim"]
Temperature: TypeAlias = Float[Tensor, " heads"]
Tokens: TypeAlias = Float[Tensor, "batch tokens dim"]


def of_length_one(x: Float[Tensor, "batch heads rows columns"], axis: int) -> Float[Tensor, "batch heads rows columns"]:
    """Return x scaled to length 1 along an axis, zeros kept."""
    return F.normalize(x, dim=axis, eps=max(1e-12, torch.finfo(x.dtype).tiny))


def unfused_attention(qkv: Packed, temperature: Temperature) -> Tokens:
    """Return V softmax(t Qn^T Kn)^T in steps."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4).contiguous().unbind()
    scores = of_length_one(q, -2).transpose(-2, -1) @ of_length_one(k, -2) * temperature[:, None, None]
    return (v @ scores.softmax(-1).transpose(-2, -1)).transpose(1, 2).flatten(2)


def fused_attention(qkv: Packed, temperature: Temperature) -> Tokens:
    """Return the same by torch's fused attention, over channels as tokens."""
    # torch 2.15 takes its CPU kernel only where the last axis is contiguous, and otherwise the unfused path.
    q, k, v = qkv.permute(2, 0, 3, 4, 1).contiguous().unbind()
    q = of_length_one(q, -1) * temperature[:, None, None]
    attended = F.scaled_dot_product_attention(q, of_length_one(k, -1), v, scale=1.0)
    return attended.permute(0, 3, 1, 2).flatten(2)


class CrossCovarianceAttention(Mechanism):
    """Attention of channels to channels within each head, by their cross-covariance over the map (XCA of XCiT).

    Paper: El-Nouby et al., "XCiT: Cross-Covariance Image Transformers", NeurIPS 2021, https://arxiv.org/abs/2106.09681.

    Legend: N = H W tokens, C channels, h heads, d = C / h, t a learned temperature per head; Qn, Kn are Q, K with
    every channel scaled to length 1 over the N tokens.

        y = LayerNorm(x);  Q, K, V = y Wq, y Wk, y Wv;  z = V softmax(t Qn^T Kn)^T;  out = z Wo

    The softmax is over the channels of the keys. Every token is changed in the same way, by d x d weights that depend
    on all of them.

    Cost per image: 4 N C^2 MACs of projections and 2 N C d of attention products, linear in N. The scores are C d
    elements, whatever the map: a fused kernel has nothing to save, and ``sdpa``, to which the d channels are tokens and
    the N tokens are channels, needs Q, K and V with tokens last.

    Differs from the paper:
        - This is XCA with its norm. The local patch interaction (two depthwise 3 x 3 convolutions), in XCiT the one
          place where neighbours exchange anything directly, is a sub-layer of its own there, and so is left out.
        - LayerScale, drop path and position encoding are left to the network around the layer. There is no dropout.
        - The temperature multiplies, as in the authors' code; the paper divides by it.
        - In float16 a length below 6e-5 counts as that, elsewhere one below 1e-12, as in the authors' code: float16
          rounds 1e-12 to zero, and channels that are zero all over the map would be divided by it.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.xca import CrossCovarianceAttention
        >>> layer = CrossCovarianceAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> CrossCovarianceAttention.macs(layer.site)
        Macs(projections=3211264, attention=802816, other=0)
    """

    paper = "El-Nouby et al., NeurIPS 2021, arXiv:2106.09681"
    reach = "global"

    def __init__(self, site: Site, *, qkv_bias: bool = True, backend: Literal["unfused", "sdpa"] = "unfused") -> None:
        """Build the layer, initialised as XCiT is: temperatures start at 1.

        Args:
            site: where the layer stands; the map may have any size.
            qkv_bias: give queries, keys and values a bias.
            backend: ``unfused`` for the steps, ``sdpa`` for torch's fused attention; same output.
        """
        super().__init__(site)
        self.attend = fused_attention if backend == "sdpa" else unfused_attention
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim, bias=qkv_bias)
        # One axis, so that the optimiser takes it for a gain and lets it not decay, as the authors ask.
        self.temperature = nn.Parameter(torch.ones(site.heads))
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x)).view(x.shape[0], -1, 3, self.site.heads, self.site.head_dim)
        attended: Map = self.proj(self.attend(qkv, self.temperature)).view(x.shape)
        return attended

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401, ARG003 - no option changes the count
        """Return 4 N C^2 + 2 N C d."""
        return Macs(
            projections=4 * site.tokens * site.dim**2,
            attention=2 * site.tokens * site.dim * site.head_dim,
        )
