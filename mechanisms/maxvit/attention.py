"""Attention within blocks and within dilated grids, layer about, as in MaxViT."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site, option_defaults
from attnbench.mechanisms.maxvit.partition import Kind, blocks, grids, kinds, rearranged
from attnbench.mechanisms.swin.attention import Policy, scaled
from attnbench.mechanisms.swin.biased import fused, unfused


def sides(site: Site, *, window: int, resolution_policy: Policy) -> tuple[int, int]:
    """Return P down and across.

    Raises:
        ValueError: the window is smaller than 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    if resolution_policy == "fixed":
        return window, window
    return scaled(window, site.height * site.stride), scaled(window, site.width * site.stride)


def is_block(site: Site) -> bool:
    """Tell whether the layer of a site attends within blocks; it does within grids otherwise."""
    return site.layer % 2 == 0


def parted(site: Site, down: int, across: int) -> list[Kind]:
    """Return the groups of the map of a site, for P down and across."""
    part = blocks if is_block(site) else grids
    return kinds(part(site.height, down), part(site.width, across))


class BlockGridAttention(Mechanism):
    """Attention within blocks in even layers, within dilated grids in odd ones, with a position bias (MaxViT).

    Paper: Tu et al., "MaxViT: Multi-Axis Vision Transformer", ECCV 2022, https://arxiv.org/abs/2204.01697.

    Legend: N = H W tokens, C channels, h heads, d = C / h, P the side of a block and of a grid.

        y = LayerNorm(x);  in each group  z = softmax(Q K^T / sqrt d + B) V;  out = z Wo

    In layers 0, 2, ... of a stage a group is a block, P x P neighbours. In layers 1, 3, ... it is a grid, P x P tokens
    spread over the whole map, H / P rows and W / P columns apart. B is read from a table of (2P - 1)^2 values per head
    by the offset between two tokens, counted in tokens of the group.

    Cost per image: 4 N C^2 MACs of projections and 2 P^2 N C of attention products. The scores are h N P^2 elements,
    which ``unfused`` holds and ``sdpa`` does not. The bias takes h P^4.

    No reach is claimed: a block is local; a grid spans the map and still holds only P^2 of its tokens.

    Differs from the paper:
        - The mechanism is the attention alone. The MBConv before each pair of layers is no part of it, and the MLP
          after each layer is the network's.
        - The authors' code refuses a map that does not divide. Here ceil(H / P) by ceil(W / P) groups part it, and
          those that lack tokens are smaller: what padding bottom right and masking the padding out gives, at less cost.
          No padding is attended to.
        - P is 7 at any resolution; the authors fine-tune with 12 at 384 and 16 at 512 pixels, which is what
          ``resolution_policy="scaled"`` comes to.
        - The table is read by sliding windows, with no index of P^4 entries. There is no dropout.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.maxvit import BlockGridAttention
        >>> layer = BlockGridAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> BlockGridAttention.macs(layer.site)
        Macs(projections=3211264, attention=1229312, other=0)
    """

    paper = "Tu et al., ECCV 2022, arXiv:2204.01697"
    undecayed = ("table",)
    reach = None

    order: Tensor
    place: Tensor

    def __init__(
        self,
        site: Site,
        *,
        window: int = 7,
        resolution_policy: Policy = "fixed",
        backend: Literal["sdpa", "unfused"] = "sdpa",
    ) -> None:
        """Build the layer, of blocks or of grids by its place in the stage.

        Args:
            site: where the layer stands; the map may have any size, layers of odd index have grids.
            window: side P of a block and of a grid in tokens.
            resolution_policy: ``fixed`` keeps the window; ``scaled`` multiplies it by image side / 224 on each side,
                the image side being tokens x stride, rounded half up.
            backend: ``sdpa`` for torch's fused attention, ``unfused`` for its steps; same output.

        Raises:
            ValueError: the window is smaller than 1.
        """
        super().__init__(site)
        self.attend = fused if backend == "sdpa" else unfused
        self.sides = sides(site, window=window, resolution_policy=resolution_policy)
        self.kinds = parted(site, *self.sides)
        self.norm = nn.LayerNorm(site.dim, eps=1e-5)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        table = torch.empty(site.heads, *(2 * side - 1 for side in self.sides))
        self.table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        order = torch.cat([kind.order(site.width) for kind in self.kinds])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort().int(), persistent=False)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        grouped = rearranged(self.norm(x).flatten(1, 2), self.order, self.place)
        attended = self.proj(self._attend(self.qkv(grouped)))
        return rearranged(attended, self.place, self.order).view(x.shape)

    def _attend(self, qkv: Float[Tensor, "batch tokens qkv_dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Attend within the groups of each kind."""
        parts = []
        tokens = torch.split(qkv, [kind.groups * kind.area for kind in self.kinds], 1)
        for kind, part in zip(self.kinds, tokens, strict=True):
            packed = part.reshape(-1, kind.area, 3, self.site.heads, self.site.head_dim)
            unmasked = self.table.new_zeros(kind.area, kind.area)
            parts.append(self.attend(packed, self._bias(kind), unmasked).view(len(qkv), -1, self.site.dim))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _bias(self, kind: Kind) -> Float[Tensor, "heads area area"]:
        """Return the table's entry for the offset from every token of a group to every other.

        A smaller group needs the middle of the table. Sliding the group over that gives entry [i, j, p, q] =
        table[i + p, j + q]; with p and q counted backwards that is the offset from key to query.
        """
        middle: Tensor = self.table
        for axis, (side, size) in enumerate(zip(self.sides, (kind.rows.size, kind.columns.size), strict=True), 1):
            middle = middle.narrow(axis, side - size, 2 * size - 1)
        slid = middle.unfold(1, kind.rows.size, 1).unfold(2, kind.columns.size, 1)
        return slid.flip(-2, -1).reshape(-1, kind.area, kind.area)

    @classmethod
    def _sides(cls, site: Site, options: dict[str, Any]) -> tuple[int, int]:
        """Return P down and across under the constructor's options, those left out at their defaults."""
        chosen = option_defaults(cls) | options
        return sides(site, window=chosen["window"], resolution_policy=chosen["resolution_policy"])

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: the window is smaller than 1.
        """
        cls._sides(site, options)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return 4 N C^2 + 2 P^2 N C, with P^2 the mean size of a token's group."""
        pairs = sum(kind.groups * kind.area**2 for kind in parted(site, *cls._sides(site, options)))
        return Macs(projections=4 * site.tokens * site.dim**2, attention=2 * pairs * site.dim)

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say that the window was scaled or that groups lack tokens, None for whole groups of the size asked for."""
        down, across = cls._sides(site, options)
        asked = (option_defaults(cls) | options)["window"]
        smallest = parted(site, down, across)[-1]
        notes = []
        if (down, across) != (asked, asked):
            notes.append(f"window {asked} made {down if down == across else f'{down}x{across}'}")
        if (smallest.rows.size, smallest.columns.size) != (down, across):
            groups = "blocks" if is_block(site) else "grids"
            notes.append(f"{groups} as small as {smallest.rows.size}x{smallest.columns.size}, not {down}x{across}")
        return ", ".join(notes) or None
