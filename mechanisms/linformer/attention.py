"""Attention to a fixed number of learned mixtures of the tokens, as in Linformer."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

Share: TypeAlias = Literal["heads", "key-value"]
Queries: TypeAlias = Float[Tensor, "batch heads tokens head_dim"]
Keys: TypeAlias = Float[Tensor, "batch heads keys head_dim"]


def unfused(q: Queries, k: Keys, v: Keys) -> Queries:
    """Return softmax(Q K^T / sqrt d) V in three steps, with all the scores in memory."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    attended: Queries = scores.softmax(-1) @ v
    return attended


class LinformerAttention(Mechanism):
    """Attention to a fixed number of learned mixtures of the tokens (Linformer).

    Paper: Wang et al., "Linformer: Self-Attention with Linear Complexity", 2020, https://arxiv.org/abs/2006.04768.

    Legend: N = H W tokens, k what they are projected to, C channels, h heads, d = C / h; E and F learned, (k, N).

        y = LayerNorm(x);  Q, K, V = y Wq, y Wk, y Wv;  z = softmax(Q (E K)^T / sqrt d) F V;  out = z Wo

    Cost per image: 4 N C^2 MACs of projections, 2 N k C of E and F, 2 N k C of attention products. The scores are h N k
    elements: ``unfused`` holds them, ``sdpa`` works through them in tiles. E and F are 2 k N parameters, which bind a
    layer to one number of tokens and grow with the map: a layer is built anew for another resolution.

    Differs from the paper, or settles what it leaves open:
        - E and F are shared by the heads, the paper's headwise sharing, as in the authors' code; ``share="key-value"``
          is the paper's key-value sharing, E = F. Each layer has its own: there is no layerwise sharing.
        - k is 256 by default, one of the values in the paper's experiments. A map of no more than k tokens is not
          projected: E and F would cost more than they save, and the layer is multi-head self-attention.
        - E and F start as the authors' code draws them, Glorot uniform with gain 1 / sqrt 2; they have no bias.
        - Keys and values are formed and then projected, as the paper writes it. The authors' code projects y first: the
          same function but for the biases of Wk and Wv, for 2 (N - k) C^2 MACs less.
        - There is no class token and no dropout; tokens are in the order of the map's rows.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.linformer import LinformerAttention
        >>> layer = LinformerAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> LinformerAttention.macs(layer.site)
        Macs(projections=3211264, attention=4917248, other=0)
    """

    paper = "Wang et al., 2020, arXiv:2006.04768"
    reach = "global"

    def __init__(
        self,
        site: Site,
        *,
        tokens: int = 256,
        share: Share = "heads",
        backend: Literal["sdpa", "unfused"] = "sdpa",
    ) -> None:
        """Build the layer, initialised as the baseline is but for E and F.

        Args:
            site: where the layer stands; it takes maps of as many tokens only, if they are more than ``tokens``.
            tokens: k, how many mixtures of the tokens are attended to.
            share: ``heads`` for one E and one F for all heads, ``key-value`` for E = F as well.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: there is nothing to attend to.
        """
        super().__init__(site)
        check(tokens)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.mix = TokenProjection(site.tokens, tokens, share) if site.tokens > tokens else nn.Identity()
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        apart = (self.site.heads, self.site.head_dim)
        q, kv = self.qkv(self.norm(x)).flatten(1, 2).split([self.site.dim, 2 * self.site.dim], dim=-1)
        q = q.unflatten(-1, apart).transpose(1, 2)
        k, v = self.mix(kv).unflatten(-1, (2, *apart)).permute(2, 0, 3, 1, 4).unbind()
        attended: Map = self.proj(self.attend(q, k, v).transpose(1, 2).reshape(x.shape))
        return attended

    @classmethod
    def why_unsupported(cls, site: Site, *, tokens: int = 256, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: there is nothing to attend to.
        """
        check(tokens)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, tokens: int = 256, **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return 4 N C^2 + 2 N k C, and as much as the latter again where E and F are; k is N where they are not."""
        return Macs(
            projections=4 * site.tokens * site.dim**2,
            attention=2 * site.tokens * min(tokens, site.tokens) * site.dim,
            other=2 * site.tokens * tokens * site.dim if site.tokens > tokens else 0,
        )

    @classmethod
    def adaptation(cls, site: Site, *, tokens: int = 256, **options: Any) -> str | None:  # noqa: ANN401, ARG003
        """Say that a map is too small to be projected, None for others."""
        return None if site.tokens > tokens else f"not projected (tokens {tokens}, map has {site.tokens})"


class TokenProjection(nn.Module):
    """E and F: mixtures of the tokens for keys and for values."""

    def __init__(self, tokens: int, kept: int, share: Share) -> None:
        """Draw the weights.

        Args:
            tokens: N.
            kept: k.
            share: whether E and F are two or one.
        """
        super().__init__()
        drawn = torch.empty(1 if share == "key-value" else 2, kept, tokens)
        for each in drawn:
            nn.init.xavier_uniform_(each, gain=0.5**0.5)
        self.weight = nn.Parameter(drawn)

    def forward(self, kv: Float[Tensor, "batch tokens kv_dim"]) -> Float[Tensor, "batch keys kv_dim"]:
        """Return the mixtures of keys and values, which lie side by side in the channels."""
        parts = kv.chunk(len(self.weight), dim=-1)
        return torch.cat([weight @ part for weight, part in zip(self.weight, parts, strict=True)], dim=-1)


def check(tokens: int) -> None:
    """Raise ValueError for a number of mixtures that no site could take."""
    if tokens < 1:
        raise ValueError(f"tokens must be at least 1, got {tokens}")
