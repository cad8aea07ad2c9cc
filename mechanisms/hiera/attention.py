"""Attention within mask units in early stages, over the whole map in late ones, as in Hiera."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, MapAfter, Mechanism, Site, option_defaults, pooled
from attnbench.mechanisms.maxvit.partition import Kind, Part, blocks, kinds, rearranged
from attnbench.mechanisms.mhsa.attention import unfused_attention

Auto: TypeAlias = Literal["auto"]
UNIT_PIXELS = 32
"""Image pixels along a side of a mask unit: 8 tokens in the first stage, 4 in the second."""
LAST_STRIDE_OF_UNITS = 8
"""The stride of the last stage that attends within units; later ones attend over the whole map."""
FIRST_STRIDE = 4
"""The stride of the first stage, in which no layer pools its queries."""
Heads: TypeAlias = Float[Tensor, "units heads tokens head_dim"]


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


def of_pooled(kind: Kind, by: int) -> Kind:
    """Return the units of a map that is pooled, from those of the map: each part's groups are smaller by a stride."""

    def smaller(part: Part) -> Part:
        return replace(part, first=part.first // by, size=-(-part.size // by), between=part.between // by)

    return Kind(rows=smaller(kind.rows), columns=smaller(kind.columns))


class MaskUnitAttention(Mechanism):
    """Attention within mask units in the first two stages, over the whole map in the others (Hiera).

    Paper: Ryali et al., "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles", ICML 2023,
    https://arxiv.org/abs/2306.00989.

    Legend: N = H W tokens, C channels, h heads, d = C / h, U the side of a mask unit, m = U^2.

        y = LayerNorm(x);  in each unit  z = softmax(Q K^T / sqrt d) V;  out = z Wo

    A unit is what masking takes away at once, 32 x 32 pixels: 8 x 8 tokens in the first stage, 4 x 4 in the second. It
    is never shifted, and there is no position bias. From the third stage on the unit is the whole map.

    With ``pool=s`` the first layer of each stage but the network's first pools its queries s x s within their unit, by
    their maximum, and so shrinks the map:

        z = softmax(max_{s x s}(Q) K^T / sqrt d) V;  out = z Wo, added to max_{s x s}(x)

    Cost per image: 4 N C^2 MACs of projections and 2 N m C of attention products, with N for m where the unit is the
    whole map. The scores are h N m elements, which ``unfused`` holds and ``sdpa`` does not. Where queries are pooled,
    3 N C^2 + n C^2 and 2 n m C, with n = N / s^2 of them.

    No reach is claimed: units are local, the whole map is not.

    Differs from the paper:
        - The paper's networks have s = 2; here s is 1 unless asked for, so that all mechanisms get their maps from the
          same patches. What pooled queries are added to is the pooled map; in the paper it is projected to the wider
          stage first, after the layer's norm, which the backbone's patches have done here.
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

    added = {"pool": 1}  # noqa: RUF012 - as the contract has it

    order: Tensor
    place: Tensor
    pooled_order: Tensor
    pooled_place: Tensor

    def __init__(
        self, site: Site, *, unit: int | Auto = "auto", pool: int = 1, backend: Literal["sdpa", "unfused"] = "sdpa"
    ) -> None:
        """Build the layer, initialised as Hiera is.

        Args:
            site: where the layer stands; the map may have any size.
            unit: U, tokens along a side of a unit; 0 for the whole map, ``auto`` for what the stage of that stride has.
            pool: s, the stride that queries are pooled by in the first layer of a stage, that of the network's first
                stage excepted; 1 for not.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for the three steps; same output.

        Raises:
            ValueError: the unit is negative, or the stride is smaller than 1.
        """
        super().__init__(site)
        self.shrunk_by = self.shrinks(site, pool=pool)
        self.attend = F.scaled_dot_product_attention if backend == "sdpa" else unfused_attention
        self.kinds = units(site, unit)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        orders = {"": torch.cat([kind.order(site.width) for kind in self.kinds])}
        if self.shrunk_by > 1:
            smaller, width = (of_pooled(kind, self.shrunk_by) for kind in self.kinds), site.shrunk(self.shrunk_by).width
            orders["pooled_"] = torch.cat([kind.order(width) for kind in smaller])
        for whose, order in orders.items():
            self.register_buffer(f"{whose}order", order, persistent=False)
            self.register_buffer(f"{whose}place", order.argsort().int(), persistent=False)

    def forward(self, x: Map) -> MapAfter:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), smaller by s, without the outer residual."""
        tokens, after = self.norm(x).flatten(1, 2), self.site.shrunk(self.shrunk_by)
        shape = (len(x), after.height, after.width, self.site.dim)
        if self._whole:
            return self._attended(tokens).view(shape)
        attended = self._attended(rearranged(tokens, self.order, self.place))
        there = (self.pooled_place, self.pooled_order) if self.shrunk_by > 1 else (self.place, self.order)
        return rearranged(attended, *there).view(shape)

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
            q = q if self.shrunk_by == 1 else self._pooled(q, kind)
            parts.append(self.attend(q, k, v).transpose(1, 2).reshape(len(tokens), -1, self.site.dim))
        projected: Tensor = self.proj(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
        return projected

    def _pooled(self, q: Heads, kind: Kind) -> Float[Tensor, "units heads fewer_tokens head_dim"]:
        """Return the maxima of the queries of each unit in blocks of s x s."""
        each = q.flatten(0, 1).view(-1, kind.rows.size, kind.columns.size, self.site.head_dim)
        return pooled(each, self.shrunk_by).reshape(*q.shape[:2], -1, self.site.head_dim)

    @classmethod
    def _units(cls, site: Site, options: dict[str, Any]) -> list[Kind]:
        """Return the units under the constructor's options, those left out at their defaults."""
        return units(site, (option_defaults(cls) | options)["unit"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or that queries cannot be pooled within units, or None.

        Raises:
            ValueError: the unit is negative, or the stride is smaller than 1.
        """
        cls._units(site, options)
        tokens, by = side(site, (option_defaults(cls) | options)["unit"]), cls.shrinks(site, **options)
        if tokens % by:
            return f"queries in units of {tokens}x{tokens} tokens cannot be pooled {by}x{by}"
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 3 N C^2 + n C^2 + 2 n m C: n pooled queries, N where none is, and m the mean size of their unit."""
        by = cls.shrinks(site, **options)
        pairs = sum(kind.groups * of_pooled(kind, by).area * kind.area for kind in cls._units(site, options))
        projected = 3 * site.tokens + site.shrunk(by).tokens
        return Macs(projections=projected * site.dim**2, attention=2 * pairs * site.dim)

    @classmethod
    def shrinks(cls, site: Site, **options: Any) -> int:  # noqa: ANN401
        """Return s for the first layer of a stage that is not the network's first, 1 for all others.

        Raises:
            ValueError: the stride is smaller than 1.
        """
        by: int = (option_defaults(cls) | options)["pool"]
        if by < 1:
            raise ValueError(f"pool must be at least 1, got {by}")
        return by if site.layer == 0 and (site.before is not None or site.stride > FIRST_STRIDE) else 1

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that units at the border lack tokens, None where all are whole."""
        asked = side(site, (option_defaults(cls) | options)["unit"])
        smallest = cls._units(site, options)[-1]
        if not asked or (smallest.rows.size, smallest.columns.size) == (asked, asked):
            return None
        return f"units as small as {smallest.rows.size}x{smallest.columns.size}, not {asked}x{asked}"
