"""Differential attention: one softmax less another, as in the Differential Transformer."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults

Packed: TypeAlias = Float[Tensor, "batch tokens 3 heads head_dim"]
Attended: TypeAlias = Float[Tensor, "batch heads tokens head_dim"]
Gain: TypeAlias = Float[Tensor, ""]


def _halves(qkv: Packed) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries and keys (B, h, 2, N, d / 2), and values (B, h, N, d)."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
    q, k = (each.view(*each.shape[:-1], 2, -1).transpose(2, 3) for each in (q, k))
    return q, k, v


def unfused(qkv: Packed, gain: Gain) -> Attended:
    """Return (softmax(Q1 K1^T) - gain softmax(Q2 K2^T)) V, the two maps in memory and subtracted."""
    q, k, v = _halves(qkv)
    weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
    attended: Attended = (weights[:, :, 0] - gain * weights[:, :, 1]) @ v
    return attended


def fused(qkv: Packed, gain: Gain) -> Attended:
    """Return the same by two calls of torch's fused attention, whose results are subtracted.

    Kernels that hold no scores ask for queries as wide as values, so queries and keys are filled with zeros.
    """
    q, k, v = _halves(qkv)
    width = q.shape[-1]
    q, k = (F.pad(each, (0, width)) for each in (q, k))
    first, second = (
        F.scaled_dot_product_attention(q[:, :, half], k[:, :, half], v, scale=width**-0.5) for half in (0, 1)
    )
    return first - gain * second


def initial_gain(index: int) -> float:
    """Return what lambda starts at in the layer of an index in the whole network, from 0."""
    return 0.8 - 0.6 * math.exp(-0.3 * index)


class DifferentialAttention(Mechanism):
    """Attention by the difference of two softmaxes, which cancels what both attend to (Differential Transformer).

    Paper: Ye et al., "Differential Transformer", ICLR 2025, https://arxiv.org/abs/2410.05258.

    Legend: N = H W tokens, C channels, h heads, d = C / h; Q1, Q2, K1, K2 of width d / 2, V of width d; l the index of
    the layer in the whole network, from 0; a, b, c, e learned vectors of width d / 2.

        y = LayerNorm(x);  Q1, Q2, K1, K2, V = y W;  g(l) = 0.8 - 0.6 exp(-0.3 l);  g = exp(a b) - exp(c e) + g(l)
        z = (softmax(Q1 K1^T / sqrt(d / 2)) - g softmax(Q2 K2^T / sqrt(d / 2))) V;  out = (1 - g(l)) RMSNorm(z) Wo

    The norm is of each head by itself, with one gain for all.

    Cost per image: 4 N C^2 MACs of projections, and of attention products 2 N^2 C where the two maps are subtracted,
    as ``unfused`` does, which holds 2 h N^2 scores. ``sdpa`` holds none: it multiplies each map with the values and
    fills queries and keys up to the width of the values, 4 N^2 C.

    Differs from the paper:
        - There is no causal mask and no rotary position, as in timm's form of it for images.
        - Projections have biases as the other built-ins have them, but for queries, keys and values, as in the paper.
        - Heads are the site's, each with two maps; the paper halves the heads of the Transformer that it is compared
          with, so that heads are twice as wide.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.diff import DifferentialAttention
        >>> layer = DifferentialAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> DifferentialAttention.macs(layer.site, backend="unfused")
        Macs(projections=3211264, attention=4917248, other=0)
    """

    paper = "Ye et al., ICLR 2025, arXiv:2410.05258"
    reach = "global"

    def __init__(self, site: Site, *, qkv_bias: bool = False, backend: Literal["sdpa", "unfused"] = "sdpa") -> None:
        """Build the layer; what lambda starts at follows from the index of the site.

        Args:
            site: where the layer stands; the map may have any size, heads are of an even width.
            qkv_bias: give queries, keys and values a bias.
            backend: ``sdpa`` for torch's fused attention, twice, ``unfused`` for the steps; same output.
        """
        super().__init__(site)
        self.attend = fused if backend == "sdpa" else unfused
        self.initial_gain = initial_gain(site.index)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim, bias=qkv_bias)
        self.gains = nn.Parameter(torch.empty(4, site.head_dim // 2).normal_(std=0.1))
        self.head_norm = nn.RMSNorm(site.head_dim, eps=1e-5)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x)).view(x.shape[0], -1, 3, self.site.heads, self.site.head_dim)
        attended = self.head_norm(self.attend(qkv, self._gain().to(qkv.dtype))) * (1 - self.initial_gain)
        out: Map = self.proj(attended.transpose(1, 2).reshape(x.shape))
        return out

    def _gain(self) -> Gain:
        """Return lambda, the share of the second map that is taken off."""
        a, b, c, e = self.gains.unbind()
        return (a * b).sum().exp() - (c * e).sum().exp() + self.initial_gain

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or a head not into two halves, or None."""
        reason = super().why_unsupported(site, **options)
        if reason is None and site.head_dim % 2:
            return f"heads of {site.head_dim} channels do not divide into the halves of two maps"
        return reason

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 N C^2 + 4 N^2 C for ``sdpa``, 4 N C^2 + 2 N^2 C for ``unfused``."""
        times = 4 if (option_defaults(cls) | options)["backend"] == "sdpa" else 2
        return Macs(projections=4 * site.tokens * site.dim**2, attention=times * site.tokens**2 * site.dim)
