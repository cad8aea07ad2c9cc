"""Attention within stripes, horizontal for half of the heads and vertical for the others, as in CSWin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.mhsa.attention import unfused_attention

Auto: TypeAlias = Literal["auto"]
Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
Packed: TypeAlias = Float[Tensor, "batch height width three part_heads head_dim"]
Part: TypeAlias = Float[Tensor, "batch height width part_dim"]
_WIDTHS = {4: 1, 8: 2}
"""Tokens across a stripe by stride, as in the paper's networks at 224 pixels; 7 in later stages."""


def stripe_width(site: Site, width: int | Auto) -> int:
    """Return how many tokens wide a stripe is.

    Raises:
        ValueError: the width is smaller than 1.
    """
    if width == "auto":
        return _WIDTHS.get(site.stride, 7)
    if width < 1:
        raise ValueError(f"stripe must be at least 1, got {width}")
    return width


def horizontal_heads(site: Site) -> int:
    """Return how many heads have horizontal stripes, half of them rounded up; the others have vertical ones."""
    return (site.heads + 1) // 2


class Stripes(nn.Module):
    """Attention of some heads within stripes of rows, and a convolution of their values within each stripe."""

    def __init__(self, channels: int, rows: int, attend: Attend) -> None:
        """Build the convolution.

        Args:
            channels: of all its heads.
            rows: of a stripe; the last one of a map may have fewer.
            attend: torch's fused attention or its steps.
        """
        super().__init__()
        self.rows, self.attend = rows, attend
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, qkv: Packed) -> Part:
        """Return the attended map, (B, H, W, channels)."""
        whole = qkv.shape[1] // self.rows * self.rows
        parts = [part for part in (qkv[:, :whole], qkv[:, whole:]) if part.shape[1]]
        attended = [self._attended(part, min(self.rows, part.shape[1])) for part in parts]
        return attended[0] if len(attended) == 1 else torch.cat(attended, 1)

    def _attended(self, qkv: Packed, rows: int) -> Part:
        """Attend within stripes that fill their part of the map."""
        batch, height, width, _, heads, head_dim = qkv.shape
        striped = qkv.reshape(-1, rows * width, 3, heads, head_dim)
        q, k, v = striped.permute(2, 0, 3, 1, 4).unbind()
        attended = self.attend(q, k, v).transpose(1, 2).reshape(-1, rows, width, heads * head_dim)
        values = striped[:, :, 2].reshape(-1, rows, width, heads * head_dim).permute(0, 3, 1, 2)
        with_position: Tensor = attended + self.position(values).permute(0, 2, 3, 1)
        return with_position.view(batch, height, width, heads * head_dim)


class CrossShapedAttention(Mechanism):
    """Attention within stripes, of rows for half of the heads and of columns for the others (CSWin).

    Paper: Dong et al., "CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows", CVPR 2022,
    https://arxiv.org/abs/2107.00652.

    Legend: N = H W tokens, C channels, h heads, d = C / h, s the width of a stripe in tokens.

        y = LayerNorm(x);  in each stripe  z = softmax(Q K^T / sqrt d) V + DWConv(V);  out = z Wo

    The first half of the heads has stripes of s rows over the whole width, the second of s columns over the whole
    height. The depthwise 3 x 3 convolution of the values, which tells where tokens are, stays within a stripe too.

    Cost per image: 4 N C^2 MACs of projections, s (H + W) N C of attention products for two equal halves, and 9 N C of
    convolutions. The scores are h N s (H + W) / 2 elements, which ``unfused`` holds and ``sdpa`` does not.

    Differs from the paper:
        - Of an odd number of heads, as the fixed backbone has in its first stage, horizontal stripes have one more.
        - A side that does not divide has one narrower stripe at its end; the authors' code refuses such a map.
        - The width of a stripe is that of the paper's networks at 224 pixels, 1, 2, 7, 7, at any resolution. Where the
          map is no larger than a stripe, both halves attend over all of it, as in the paper's last stage.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.cswin import CrossShapedAttention
        >>> layer = CrossShapedAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> CrossShapedAttention.macs(layer.site)
        Macs(projections=3211264, attention=2458624, other=112896)
    """

    paper = "Dong et al., CVPR 2022, arXiv:2107.00652"
    reach = "local"

    def __init__(
        self, site: Site, *, stripe: int | Auto = "auto", backend: Literal["sdpa", "unfused"] = "sdpa"
    ) -> None:
        """Build the layer, initialised as CSWin is.

        Args:
            site: where the layer stands; the map may have any size.
            stripe: s, tokens across a stripe, ``auto`` for what the paper's stage of that stride has.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: the stripe is narrower than 1.
        """
        super().__init__(site)
        attend: Attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused_attention
        tokens, self.heads = stripe_width(site, stripe), horizontal_heads(site)
        self.norm = nn.LayerNorm(site.dim)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.rows = Stripes(self.heads * site.head_dim, tokens, attend)
        vertical = (site.heads - self.heads) * site.head_dim
        self.columns = Stripes(vertical, tokens, attend) if vertical else None
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x)).view(*x.shape[:3], 3, self.site.heads, self.site.head_dim)
        attended = self.rows(qkv[..., : self.heads, :])
        if self.columns is not None:
            columns = self.columns(qkv[..., self.heads :, :].transpose(1, 2)).transpose(1, 2)
            attended = torch.cat([attended, columns], -1)
        out: Map = self.proj(attended)
        return out

    @classmethod
    def _stripe(cls, site: Site, options: dict[str, Any]) -> int:
        """Return the width of a stripe under the constructor's options, those left out at their defaults."""
        return stripe_width(site, (option_defaults(cls) | options)["stripe"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the stripe is narrower than 1.
        """
        cls._stripe(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 N C^2 + s (H + W) N C + 9 N C, less where a stripe is narrower and for halves that differ."""
        tokens, rows = cls._stripe(site, options), horizontal_heads(site)
        down = _pairs(site.height, site.width, tokens) * rows
        across = _pairs(site.width, site.height, tokens) * (site.heads - rows)
        return Macs(
            projections=4 * site.tokens * site.dim**2,
            attention=2 * (down + across) * site.head_dim,
            other=9 * site.tokens * site.dim,
        )

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that a stripe at an end of the map is narrower, None where all are whole."""
        tokens = cls._stripe(site, options)
        vertical = horizontal_heads(site) < site.heads
        lengths = {"rows": site.height} | ({"columns": site.width} if vertical else {})
        short = {name: length % tokens for name, length in lengths.items() if length % tokens}
        said = ", ".join(f"{left} {name}" for name, left in short.items())
        return f"a last stripe of {said}, not {tokens}" if said else None


def _pairs(length: int, other: int, tokens: int) -> int:
    """Return the pairs of a query and a key in all stripes along a side."""
    whole, rest = divmod(length, tokens)
    return other**2 * (whole * tokens**2 + rest**2)
