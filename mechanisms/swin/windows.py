"""How a map is cut into windows: geometry only, no learned weights.

After the cyclic shift the windows of a map are of at most four kinds, by whether they hold the seam between the
map's two ends: neither way (the interior), down (the last row), across (the last column), both (the corner). All
windows of a kind need the same mask, so ``arrange`` lists the windows kind by kind, and no mask is larger than
one window against itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MASKED = -100.0
"""What is added to the score of two tokens that the cyclic shift brought together: the published code's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a map and how it is cut."""

    length: int
    """Tokens of the map."""
    window: int
    """Tokens of a window, at most ``length``."""
    shift: int
    """Tokens that the map is rolled by, 0 for plain windows."""

    @classmethod
    def cut(cls, length: int, *, window: int, shifted: bool) -> Side:
        """Cut a side; one that is not larger than the window is a single window and never shifted."""
        if length <= window:
            return cls(length=length, window=length, shift=0)
        return cls(length=length, window=window, shift=window // 2 if shifted else 0)

    @property
    def windows(self) -> int:
        """Windows along the side."""
        return -(-self.length // self.window)

    @property
    def padded(self) -> int:
        """Tokens after padding to whole windows."""
        return self.windows * self.window

    @property
    def parts(self) -> list[tuple[bool, slice]]:
        """The windows along the side as (holds the seam, which of them)."""
        return [(False, slice(0, -1)), (True, slice(-1, None))] if self.shift else [(False, slice(None))]

    def beyond_seam(self, *, seam: bool) -> Bool[Tensor, " window"]:
        """Tell for each token of a window whether it was rolled in from the map's other end."""
        return torch.arange(self.window) >= (self.window - self.shift if seam else self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The windows of one padded map, listed kind by kind."""

    order: Int[Tensor, "windows area"]
    """Index in the padded map, row by row, of each token of each window."""
    counts: tuple[int, ...]
    """Windows of each kind."""
    masks: Float[Tensor, "kinds area area"]
    """What is added to the scores of each kind: 0, or ``MASKED`` between tokens from different ends of the map."""


def arrange(rows: Side, columns: Side) -> Arrangement:
    """Pad at the bottom right, shift, cut into windows and group by kind."""
    tokens = torch.arange(rows.padded * columns.padded, dtype=torch.int32).view(rows.padded, columns.padded)
    grid = tokens.roll((-rows.shift, -columns.shift), (0, 1))
    grid = grid.view(rows.windows, rows.window, columns.windows, columns.window).transpose(1, 2).flatten(2)
    kinds: list[Tensor] = []
    masks: list[Tensor] = []
    for (row_seam, down), (column_seam, across) in product(rows.parts, columns.parts):
        kinds.append(grid[down, across].flatten(0, 1))
        below, right = rows.beyond_seam(seam=row_seam), columns.beyond_seam(seam=column_seam)
        region = (2 * below[:, None].int() + right.int()).flatten()
        masks.append(torch.where(region[:, None] == region, 0.0, MASKED))
    return Arrangement(order=torch.cat(kinds), counts=tuple(len(kind) for kind in kinds), masks=torch.stack(masks))
