"""Attention over fewer and fewer tokens: after each layer those most alike are merged, as in ToMe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.tome.merging import Merged, matched, merge, places_of, tokens_of, unmerged

Auto: TypeAlias = Literal["auto"]
Heads: TypeAlias = Float[Tensor, "batch heads merged_tokens head_dim"]
TOKENS_A_PAIR = 12
"""Tokens of the map for each pair that a layer merges: 16 of 196, what the paper has for ViT-B."""


def unfused_attention(q: Heads, k: Heads, v: Heads, attn_mask: Tensor) -> Heads:
    """Return softmax(Q K^T / sqrt d + mask) V in steps, with all the scores in memory."""
    attended: Heads = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + attn_mask).softmax(-1) @ v
    return attended


def merged_tokens(site: Site, merge: int | Auto) -> tuple[int, int]:
    """Return the tokens that a layer attends with, and those that are left after it.

    Raises:
        ValueError: a negative number of pairs is to be merged.
    """
    pairs = site.tokens // TOKENS_A_PAIR if merge == "auto" else merge
    if pairs < 0:
        raise ValueError(f"merge must be at least 0, got {pairs}")
    before = after = site.tokens
    for _ in range(site.layer + 1):
        before, after = after, after - min(pairs, after // 2)
    return before, after


class TokenMergingAttention(Mechanism):
    """Attention of every token to every token, of which the most alike are then merged in pairs (ToMe).

    Paper: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, https://arxiv.org/abs/2210.09461.

    Legend: N = H W places of the map, n tokens that are left of them, s the places that each stands for, C channels,
    h heads, d = C / h, r pairs that a layer merges.

        y = LayerNorm(x);  z = softmax(Q K^T / sqrt d + log s) V Wo;  x <- x + z
        even tokens are matched with the odd token whose mean key over the heads is nearest by cosine;
        of the r best pairs  x <- (s_a x_a + s_b x_b) / (s_a + s_b),  s <- s_a + s_b

    Tokens and sizes are handed on within a stage: layer l attends with n = N - l r tokens, down to half of a layer's
    at most, and n - r go through the MLP. The map stays a map: all places of a token hold its value.

    Cost per image: 4 n C^2 MACs of projections, 2 n^2 C of attention products, ceil(n / 2) floor(n / 2) d of
    similarities and r C of weighted sums. What is merged depends on values, how much does not.

    Differs from the paper:
        - There is no class token, which the paper never merges.
        - Each stage of a pyramid starts with all places of its map, since what shrinks a map needs one.
        - r is a twelfth of the map's tokens, at any resolution: 16 of 196, as the paper has for ViT-B at 224 pixels.
        - A layer that is handed nothing attends with all places, wherever it stands.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.tome import TokenMergingAttention
        >>> layer = TokenMergingAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> y, merged = layer.step(torch.randn(1, 14, 14, 64), None)
        >>> y.shape, merged.sizes.shape
        (torch.Size([1, 14, 14, 64]), torch.Size([1, 180, 1]))
        >>> TokenMergingAttention.macs(layer.site)
        Macs(projections=3211264, attention=4917248, other=308352)
    """

    paper = "Bolya et al., ICLR 2023, arXiv:2210.09461"
    reach = "global"

    def __init__(self, site: Site, *, merge: int | Auto = "auto", backend: Literal["sdpa", "unfused"] = "sdpa") -> None:
        """Build the layer, initialised as DeiT is.

        Args:
            site: where the layer stands; the map may have any size.
            merge: r, pairs that each layer merges; ``auto`` for a twelfth of the map's tokens.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for its steps; same output.

        Raises:
            ValueError: the number of pairs is negative.
        """
        super().__init__(site)
        merged_tokens(site, merge)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused_attention
        self.pairs = site.tokens // TOKENS_A_PAIR if merge == "auto" else merge
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return what to add to a map of which nothing was merged before, (B, H, W, C)."""
        return self.step(x, None)[0]

    def step(self, x: Map, carry: Merged | None) -> tuple[Map, Merged]:
        """Return what to add to the map, so that every place then holds what its token does, and the new tokens."""
        places = x.flatten(1, 2)
        before = unmerged(places) if carry is None or self.site.layer == 0 else carry
        tokens = tokens_of(before, places)
        qkv = self.qkv(self.norm(tokens)).view(*tokens.shape[:2], 3, self.site.heads, self.site.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        weighed = before.sizes.log()[:, None].transpose(2, 3)
        attended = self.attend(q, k, v, attn_mask=weighed).transpose(1, 2).reshape(tokens.shape)
        tokens = tokens + self.proj(attended)
        pairs = min(self.pairs, tokens.shape[1] // 2)
        if not pairs:
            return (places_of(before, tokens) - places).view(x.shape), before
        after, means = merge(matched(k.mean(1), pairs), before, tokens)
        return (places_of(after, means) - places).view(x.shape), after

    def rest(self, x: Map, carry: Merged, mlp: Callable[[Map], Map]) -> tuple[Map, Merged]:
        """Send each token through the block's MLP once, however many places it stands for."""
        tokens = mlp(tokens_of(carry, x.flatten(1, 2)).unsqueeze(1)).squeeze(1)
        return places_of(carry, tokens).view(x.shape), carry

    @classmethod
    def _tokens(cls, site: Site, options: dict[str, Any]) -> tuple[int, int]:
        """Return the tokens before and after under the constructor's options, those left out at their defaults."""
        return merged_tokens(site, (option_defaults(cls) | options)["merge"])

    @classmethod
    def mlp_tokens(cls, site: Site, **options: Any) -> int:  # noqa: ANN401
        """Return the tokens that are left after the layer."""
        return cls._tokens(site, options)[1]

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the number of pairs is negative.
        """
        cls._tokens(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 n C^2 + 2 n^2 C, and similarities and weighted sums where there is something to merge."""
        tokens, after = cls._tokens(site, options)
        half = tokens // 2
        return Macs(
            projections=4 * tokens * site.dim**2,
            attention=2 * tokens**2 * site.dim,
            other=(tokens - half) * half * site.head_dim + (tokens - after) * site.dim if after < tokens else 0,
        )
