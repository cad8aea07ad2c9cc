"""Some heads within small windows, the others to the averaged map, as in LITv2."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.maxvit.partition import Kind, blocks, kinds, rearranged

Part: TypeAlias = Float[Tensor, "batch height width part_dim"]
Queries: TypeAlias = Float[Tensor, "batch part_heads queries head_dim"]
Keys: TypeAlias = Float[Tensor, "batch part_heads keys head_dim"]


def unfused_attention(q: Queries, k: Keys, v: Keys) -> Queries:
    """Return softmax(Q K^T / sqrt d) V in three steps, with all the scores in memory."""
    attended: Queries = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
    return attended


def low_heads(site: Site, share: float, window: int) -> int:
    """Return how many heads attend to the averaged map, rounded down; all where a window is one token.

    Raises:
        ValueError: the window is smaller than 1, or the share is none from 0 to 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    if not 0 <= share <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {share}")
    return site.heads if window == 1 else int(site.heads * share)


class HighFrequency(nn.Module):
    """Heads that attend within windows of the map."""

    order: Tensor
    place: Tensor

    def __init__(self, site: Site, heads: int, windows: list[Kind]) -> None:
        """Build the projections of so many heads of a site."""
        super().__init__()
        self.heads, self.kinds = heads, windows
        self.dim = heads * site.head_dim
        self.qkv = nn.Linear(site.dim, 3 * self.dim)
        self.proj = nn.Linear(self.dim, self.dim)
        order = torch.cat([kind.order(site.width) for kind in windows])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort().int(), persistent=False)

    def forward(self, y: Map, attend: Any) -> Part:  # noqa: ANN401 - torch's fused attention or its steps
        """Return the attended map, (B, H, W, C) to (B, H, W, heads x d)."""
        qkv = rearranged(self.qkv(y).flatten(1, 2), self.order, self.place)
        parts = []
        sizes = [kind.groups * kind.area for kind in self.kinds]
        for kind, part in zip(self.kinds, torch.split(qkv, sizes, 1), strict=True):
            q, k, v = part.reshape(-1, kind.area, 3, self.heads, self.dim // self.heads).permute(2, 0, 3, 1, 4).unbind()
            parts.append(attend(q, k, v).transpose(1, 2).reshape(len(y), -1, self.dim))
        attended = self.proj(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
        return rearranged(attended, self.place, self.order).view(*y.shape[:3], self.dim)


class LowFrequency(nn.Module):
    """Heads that attend to the map averaged over windows."""

    def __init__(self, site: Site, heads: int, window: int) -> None:
        """Build the projections of so many heads of a site."""
        super().__init__()
        self.heads, self.window = heads, window
        self.dim = heads * site.head_dim
        self.q = nn.Linear(site.dim, self.dim)
        self.kv = nn.Linear(site.dim, 2 * self.dim)
        self.proj = nn.Linear(self.dim, self.dim)

    def forward(self, y: Map, attend: Any) -> Part:  # noqa: ANN401 - torch's fused attention or its steps
        """Return the attended map, (B, H, W, C) to (B, H, W, heads x d)."""
        averaged = y
        if self.window > 1:  # border windows that lack tokens average those that they have
            averaged = F.avg_pool2d(y.permute(0, 3, 1, 2), self.window, ceil_mode=True).permute(0, 2, 3, 1)
        head_dim = self.dim // self.heads
        q = self.q(y).view(len(y), -1, self.heads, head_dim).transpose(1, 2)
        k, v = self.kv(averaged).view(len(y), -1, 2, self.heads, head_dim).permute(2, 0, 3, 1, 4).unbind()
        attended: Part = self.proj(attend(q, k, v).transpose(1, 2).reshape(*y.shape[:3], self.dim))
        return attended


class HiLoAttention(Mechanism):
    """Few heads within small windows, the others from every token to the averaged map (HiLo of LITv2).

    Paper: Pan et al., "Fast Vision Transformers with HiLo Attention", NeurIPS 2022, https://arxiv.org/abs/2205.13213.

    Legend: N = H W tokens, C channels, h heads, d = C / h, s the side of a window, a the share of Lo-Fi heads,
    Cl = floor(a h) d and Ch = C - Cl channels; P(y) the map averaged over windows, N / s^2 tokens.

        y = LayerNorm(x);  Hi-Fi: in each window  zh = softmax(Q K^T / sqrt d) V, with Q, K, V of y
        Lo-Fi: zl = softmax(Q K^T / sqrt d) V, with Q of y and K, V of P(y);  out = [zh Wh, zl Wl]

    Cost per image: N C (3 Ch + Cl) + 2 (N / s^2) C Cl + N (Ch^2 + Cl^2) MACs of projections and
    2 N s^2 Ch + 2 N (N / s^2) Cl of attention products. The scores of Lo-Fi are floor(a h) N^2 / s^2 elements, which
    ``unfused`` holds and ``sdpa`` does not.

    Differs from the paper:
        - A map that does not divide has smaller windows at its right and lower border, in both parts; the authors pad
          it with zeros for dense tasks and refuse it otherwise.
        - The paper's networks have no attention in their first two stages. Here it is measured wherever it is asked
          for, with Lo-Fi keys quadratic in a large map.
        - a is 0.9, which the paper's networks have; queries, keys and values have biases.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.hilo import HiLoAttention
        >>> layer = HiLoAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> HiLoAttention.macs(layer.site)
        Macs(projections=2207744, attention=664832, other=0)
    """

    paper = "Pan et al., NeurIPS 2022, arXiv:2205.13213"
    reach = "global"

    def __init__(
        self,
        site: Site,
        *,
        window: int = 2,
        alpha: float = 0.9,
        backend: Literal["sdpa", "unfused"] = "sdpa",
    ) -> None:
        """Build the layer, initialised as LITv2 is.

        Args:
            site: where the layer stands; the map may have any size.
            window: s, side of a window in tokens.
            alpha: share of the heads that are Lo-Fi, their number rounded down.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: the window is smaller than 1, or the share is none from 0 to 1.
        """
        super().__init__(site)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused_attention
        low = low_heads(site, alpha, window)
        windows = kinds(blocks(site.height, window), blocks(site.width, window))
        self.norm = nn.LayerNorm(site.dim)
        self.high = HighFrequency(site, site.heads - low, windows) if low < site.heads else None
        self.low = LowFrequency(site, low, window) if low else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        y = self.norm(x)
        parts = [part(y, self.attend) for part in (self.high, self.low) if part is not None]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    @classmethod
    def _chosen(cls, site: Site, options: dict[str, Any]) -> tuple[int, int]:
        """Return the window and the Lo-Fi heads under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        return chosen["window"], low_heads(site, chosen["alpha"], chosen["window"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the window is smaller than 1, or the share is none from 0 to 1.
        """
        cls._chosen(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return the sum of both parts, windows at the border as small as they are."""
        window, heads = cls._chosen(site, options)
        tokens, low = site.tokens, heads * site.head_dim
        high = (site.heads - heads) * site.head_dim
        keys = -(-site.height // window) * -(-site.width // window)
        pairs = sum(
            kind.groups * kind.area**2 for kind in kinds(blocks(site.height, window), blocks(site.width, window))
        )
        return Macs(
            projections=tokens * site.dim * (3 * high + low) + 2 * keys * site.dim * low + tokens * (high**2 + low**2),
            attention=2 * pairs * high + 2 * tokens * keys * low,
        )

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that windows at the border lack tokens, None where all are whole."""
        window, _ = cls._chosen(site, options)
        rows, columns = (site.height % window or window, site.width % window or window)
        return None if rows == columns == window else f"windows as small as {rows}x{columns}, not {window}x{window}"
