"""Attention within mask units in early stages, over the whole map in late ones, as in Hiera."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.maxvit.partition import Kind, blocks, kinds, rearranged
from attnbench.mechanisms.mhsa.attention import unfused_attention

Auto: TypeAlias = Literal["auto"]
UNIT_PIXELS = 32
"""Image pixels along a side of a mask unit: 8 tokens in the first stage, 4 in the second."""
LAST_STRIDE_OF_UNITS = 8
"""The stride of the last stage that attends within units; later ones attend over the whole map."""


def side(site: Site, unit: int | Auto) -> int:
    """Return the tokens along a side of a unit, 0 for the whole map.

    Raises:
        ValueError: the unit is negative.
    """
    if unit == "auto":
        return UNIT_PIXELS // site.stride if site.stride <= LAST_STRIDE_OF_UNITS else 0
    if unit < 0:
        raise ValueError(f"unit must be at least 0, got {unit}")
    return unit


def units(site: Site, unit: int | Auto) -> list[Kind]:
    """Return the mask units of a site's map, by size."""
    tokens = side(site, unit)
    return kinds(blocks(site.height, tokens or site.height), blocks(site.width, tokens or site.width))


class MaskUnitAttention(Mechanism):
    """Attention within mask units in the first two stages, over the whole map in the others (Hiera).

    Paper: Ryali et al., "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles", ICML 2023,
    https://arxiv.org/abs/2306.00989.

    Legend: N = H W tokens, C channels, h heads, d = C / h, U the side of a mask unit, m = U^2.

        y = LayerNorm(x);  in each unit  z = softmax(Q K^T / sqrt d) V;  out = z Wo

    A unit is what masking takes away at once, 32 x 32 pixels: 8 x 8 tokens in the first stage, 4 x 4 in the second. It
    is never shifted, and there is no position bias. From the third stage on the unit is the whole map.

    Cost per image: 4 N C^2 MACs of projections and 2 N m C of attention products, with N for m where the unit is the
    whole map. The scores are h N m elements, which ``unfused`` holds and ``sdpa`` does not.

    No reach is claimed: units are local, the whole map is not.

    Differs from the paper:
        - In the first layer of a later stage the paper pools the queries 2 x 2, by their maximum, and so shrinks the
          map. Here shrinking is the network's, which it does between stages.
        - A map that does not divide has smaller units at its right and lower border; the authors' code refuses it.
        - Nothing is masked, and there is no dropout.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.hiera import MaskUnitAttention
        >>> layer = MaskUnitAttention(Site(height=28, width=28, dim=64, heads=2, stride=8))
        >>> layer(torch.zeros(1, 28, 28, 64)).shape
        torch.Size([1, 28, 28, 64])
        >>> MaskUnitAttention.macs(layer.site)
        Macs(projections=12845056, attention=1605632, other=0)
    """

    paper = "Ryali et al., ICML 2023, arXiv:2306.00989"
    reach = None

    order: Tensor
    place: Tensor

    def __init__(self, site: Site, *, unit: int | Auto = "auto", backend: Literal["sdpa", "unfused"] = "sdpa") -> None:
        """Build the layer, initialised as Hiera is.

        Args:
            site: where the layer stands; the map may have any size.
            unit: U, tokens along a side of a unit; 0 for the whole map, ``auto`` for what the stage of that stride has.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: the unit is negative.
        """
        super().__init__(site)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused_attention
        self.kinds = units(site, unit)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        order = torch.cat([kind.order(site.width) for kind in self.kinds])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort().int(), persistent=False)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        tokens = self.norm(x).flatten(1, 2)
        if self._whole:
            return self._attended(tokens).view(x.shape)
        grouped = rearranged(tokens, self.order, self.place)
        return rearranged(self._attended(grouped), self.place, self.order).view(x.shape)

    @property
    def _whole(self) -> bool:
        """Whether one unit is the whole map, whose tokens then are in order."""
        return len(self.kinds) == 1 and self.kinds[0].groups == 1

    def _attended(self, tokens: Tensor) -> Tensor:
        """Attend within the units of each size, (B, N, C) to (B, N, C)."""
        parts = []
        sizes = [kind.groups * kind.area for kind in self.kinds]
        for kind, part in zip(self.kinds, torch.split(self.qkv(tokens), sizes, 1), strict=True):
            packed = part.reshape(-1, kind.area, 3, self.site.heads, self.site.head_dim)
            q, k, v = packed.permute(2, 0, 3, 1, 4).unbind()
            parts.append(self.attend(q, k, v).transpose(1, 2).reshape(len(tokens), -1, self.site.dim))
        projected: Tensor = self.proj(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
        return projected

    @classmethod
    def _units(cls, site: Site, options: dict[str, Any]) -> list[Kind]:
        """Return the units under the constructor's options, those left out at their defaults."""
        return units(site, (option_defaults(cls) | options)["unit"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the unit is negative.
        """
        cls._units(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 N C^2 + 2 N m C, with m the mean size of a token's unit."""
        pairs = sum(kind.groups * kind.area**2 for kind in cls._units(site, options))
        return Macs(projections=4 * site.tokens * site.dim**2, attention=2 * pairs * site.dim)

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that units at the border lack tokens, None where all are whole."""
        asked = side(site, (option_defaults(cls) | options)["unit"])
        smallest = cls._units(site, options)[-1]
        if not asked or (smallest.rows.size, smallest.columns.size) == (asked, asked):
            return None
        return f"units as small as {smallest.rows.size}x{smallest.columns.size}, not {asked}x{asked}"
