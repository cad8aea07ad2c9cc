"""Attention of each region to the regions that suit it best, as in BiFormer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults

Auto: TypeAlias = Literal["auto"]
Regions: TypeAlias = Float[Tensor, "images regions tokens_of_each dim_of_each"]
Queries: TypeAlias = Float[Tensor, "images regions heads tokens_of_each head_dim"]
Keys: TypeAlias = Float[Tensor, "images regions heads tokens_chosen head_dim"]
_CHOSEN = {4: 1, 8: 4, 16: 16}
"""Regions that each attends to, by stride, as in the paper's networks; all in the last stage."""
_POSITION = 5
"""Side of the depthwise convolution of the values."""


def unfused_attention(q: Queries, k: Keys, v: Keys, scale: float) -> Queries:
    """Return softmax(scale Q K^T) V in three steps, with all the scores in memory."""
    attended: Queries = ((q * scale) @ k.transpose(-2, -1)).softmax(-1) @ v
    return attended


def fused_attention(q: Queries, k: Keys, v: Keys, scale: float) -> Queries:
    """Return the same by torch's fused attention."""
    query, key, value = (each.flatten(0, 1) for each in (q, k, v))
    return F.scaled_dot_product_attention(query, key, value, scale=scale).view(q.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionGrid:
    """How a map is cut into regions of one size, and how many each attends to."""

    rows: int
    """Regions down."""
    columns: int
    tall: int
    """Tokens down a region."""
    wide: int
    chosen: int

    @classmethod
    def of(cls, site: Site, *, regions: int, topk: int | Auto) -> RegionGrid:
        """Cut a site's map.

        Raises:
            ValueError: there are no regions, or none is attended to.
        """
        if regions < 1:
            raise ValueError(f"regions must be at least 1, got {regions}")
        if topk != "auto" and topk < 1:
            raise ValueError(f"topk must be at least 1, got {topk}")
        tall, wide = -(-site.height // regions), -(-site.width // regions)
        rows, columns = -(-site.height // tall), -(-site.width // wide)
        wanted = _CHOSEN.get(site.stride, rows * columns) if topk == "auto" else topk
        return cls(rows=rows, columns=columns, tall=tall, wide=wide, chosen=min(wanted, rows * columns))

    @property
    def count(self) -> int:
        """Regions of a map."""
        return self.rows * self.columns

    @property
    def area(self) -> int:
        """Tokens of a region."""
        return self.tall * self.wide

    def cut(self, x: Map) -> Regions:
        """Return the regions of a map that divides."""
        split = x.view(len(x), self.rows, self.tall, self.columns, self.wide, -1)
        return split.transpose(2, 3).reshape(len(x), self.count, self.area, x.shape[-1])

    def joined(self, regions: Regions) -> Map:
        """Return the map of regions."""
        split = regions.view(len(regions), self.rows, self.columns, self.tall, self.wide, -1)
        return split.transpose(2, 3).reshape(
            len(regions), self.rows * self.tall, self.columns * self.wide, regions.shape[-1]
        )


class BiLevelRoutingAttention(Mechanism):
    """Attention of each region's tokens to those of the few regions whose mean key suits its mean query (BiFormer).

    Paper: Zhu et al., "BiFormer: Vision Transformer with Bi-Level Routing Attention", CVPR 2023,
    https://arxiv.org/abs/2303.08810.

    Legend: N = H W tokens, C channels, h heads, S x S regions of m = N / S^2 tokens, k of them chosen for each.

        y = LayerNorm(x);  Q, K, V = y W;  Qr, Kr their means over each region
        I = the k largest of each row of Qr Kr^T
        in each region  z = softmax(Q K_I^T / sqrt C) V_I + DWConv(V);  out = z Wo

    K_I and V_I are the keys and values of the chosen regions, copied one after the other; the convolution is 5 x 5. No
    gradient passes the choice. k is 1, 4, 16 and all in the four stages.

    Cost per image: 4 N C^2 MACs of projections, S^4 C of routing, 2 N k m C of attention products and 25 N C of the
    convolution. Copies take 2 S^2 k m C = 2 k N C elements, which no count of multiply-adds has. What is chosen depends
    on values, how much does not.

    Differs from the paper:
        - Scores are divided by sqrt C, not sqrt d, in every head: so does the authors' code, and the paper's formula.
        - A side that does not divide into S has regions of the next whole size, fewer if that is enough, and is padded
          after the norm, bottom right; the authors pad it to a multiple of S before. Padding is not masked: its keys
          and values are the biases.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.biformer import BiLevelRoutingAttention
        >>> layer = BiLevelRoutingAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> BiLevelRoutingAttention.macs(layer.site)
        Macs(projections=3211264, attention=1605632, other=467264)
    """

    paper = "Zhu et al., CVPR 2023, arXiv:2303.08810"
    reach = None

    def __init__(
        self,
        site: Site,
        *,
        regions: int = 7,
        topk: int | Auto = "auto",
        backend: Literal["sdpa", "unfused"] = "sdpa",
    ) -> None:
        """Build the layer, initialised as BiFormer is.

        Args:
            site: where the layer stands; the map may have any size.
            regions: S, regions along a side at most.
            topk: k, regions that each attends to, all if there are no more; ``auto`` by the stage of that stride.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: there are no regions, or none is attended to.
        """
        super().__init__(site)
        self.grid = RegionGrid.of(site, regions=regions, topk=topk)
        self.attend = fused_attention if backend == "sdpa" else unfused_attention
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.position = nn.Conv2d(site.dim, site.dim, _POSITION, padding=_POSITION // 2, groups=site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        _, height, width, dim = x.shape
        grid = self.grid
        padding = (0, 0, 0, grid.columns * grid.wide - width, 0, grid.rows * grid.tall - height)
        y = F.pad(self.norm(x), padding) if any(padding) else self.norm(x)
        packed = self.qkv(y)
        q, k, v = grid.cut(packed).chunk(3, -1)
        chosen = self._chosen(q, k)
        keys, values = (self._heads(_gathered(each, chosen)) for each in (k, v))
        attended = self.attend(self._heads(q), keys, values, dim**-0.5)
        position = self.position(packed[..., 2 * dim :].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        z = grid.joined(attended.transpose(2, 3).flatten(3)) + position
        out: Map = self.proj(z)[:, :height, :width]
        return out

    def _chosen(self, q: Regions, k: Regions) -> Int[Tensor, "batch regions chosen"]:
        """Return which regions each attends to."""
        query, key = (each.detach().mean(2) for each in (q, k))
        return (query @ key.transpose(1, 2)).topk(self.grid.chosen, -1).indices

    def _heads(self, regions: Regions) -> Queries:
        return regions.view(*regions.shape[:3], self.site.heads, self.site.head_dim).transpose(2, 3)

    @classmethod
    def _grid(cls, site: Site, options: dict[str, Any]) -> RegionGrid:
        """Return the regions under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        return RegionGrid.of(site, regions=chosen["regions"], topk=chosen["topk"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: there are no regions, or none is attended to.
        """
        cls._grid(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 N C^2 + 2 N k m C + 25 N C + S^4 C, with all places of the regions for N."""
        grid = cls._grid(site, options)
        places = grid.count * grid.area
        return Macs(
            projections=4 * places * site.dim**2,
            attention=2 * places * grid.chosen * grid.area * site.dim,
            other=_POSITION**2 * places * site.dim + grid.count**2 * site.dim,
        )

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say how a map is padded that does not divide into regions, None where it does."""
        grid = cls._grid(site, options)
        height, width = grid.rows * grid.tall, grid.columns * grid.wide
        if (height, width) == (site.height, site.width):
            return None
        return f"padded {site.height}x{site.width} to {height}x{width}, {grid.rows}x{grid.columns} regions"


def _gathered(
    regions: Regions, chosen: Int[Tensor, "images regions chosen"]
) -> Float[Tensor, "images regions tokens_chosen dim_of_each"]:
    """Return for each region the tokens of those chosen for it, one after the other."""
    batch, _, area, dim = regions.shape
    image = torch.arange(batch, device=regions.device)[:, None, None]
    return regions[image, chosen].view(batch, chosen.shape[1], chosen.shape[2] * area, dim)
