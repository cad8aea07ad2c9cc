"""How a map is cut into windows: geometry only, no learned weights.

A window of a displaced grid may hold a seam, the place where the map ends and something else begins: the map's
other end under the cyclic shift, nothing but filling otherwise. The windows of a map are of at most four kinds, by
whether they hold a seam: neither way (the interior), down, across, both (the corners). All windows of a kind need the
same mask, so ``arrange`` lists the windows kind by kind, and no mask is larger than one window against itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MASKED = -100.0
"""What is added to the score of two tokens that a seam parts: the published code's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSide:
    """One side of a map and how it is cut."""

    length: int
    """Tokens of the map."""
    window: int
    """Tokens of a window, at most ``length``."""
    shift: int
    """Tokens that the grid of windows is displaced by, 0 for plain windows."""
    filled: bool = False
    """Whether the smaller windows at both ends of a shifted side are filled, where otherwise the map is rolled."""

    @classmethod
    def cut(cls, length: int, *, window: int, shifted: bool, filled: bool = False) -> WindowSide:
        """Cut a side; one that is not larger than the window is a single window and never shifted."""
        if length <= window:
            return cls(length=length, window=length, shift=0)
        shift = window // 2 if shifted else 0
        return cls(length=length, window=window, shift=shift, filled=filled and shift > 0)

    @property
    def padded(self) -> int:
        """Tokens after padding to whole windows of a grid that is not displaced."""
        return -(-self.length // self.window) * self.window

    @property
    def before(self) -> int:
        """Places filled before the first token."""
        return self.window - self.shift if self.filled else 0

    @property
    def windows(self) -> int:
        """Windows along the side."""
        return self.padded // self.window + self.filled

    @property
    def places(self) -> int:
        """Places in the windows along the side: tokens of the padded map and what is filled."""
        return self.windows * self.window

    @property
    def parts(self) -> list[tuple[bool, slice]]:
        """The windows along the side as (holds a seam, which of them)."""
        if not self.shift:
            return [(False, slice(None))]
        if self.filled:
            first_and_last = slice(None, None, self.windows - 1)
            return [(False, slice(1, -1)), (True, first_and_last)]
        return [(False, slice(0, -1)), (True, slice(-1, None))]

    def beyond_seam(self, *, seam: bool) -> Bool[Tensor, " window"]:
        """Tell for each place of a window whether it lies beyond the seam, which is as far in at both ends."""
        return torch.arange(self.window) >= (self.window - self.shift if seam else self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The windows of one map, listed kind by kind."""

    order: Int[Tensor, "windows area"]
    """Index in the map with padding and filling, row by row, of each place of each window."""
    counts: tuple[int, ...]
    """Windows of each kind."""
    masks: Float[Tensor, "kinds area area"]
    """What is added to the scores of each kind: 0, or ``MASKED`` between places on different sides of a seam."""


def arrange(rows: WindowSide, columns: WindowSide) -> Arrangement:
    """Shift the map unless it is filled, cut it into windows and group them by kind."""
    places = torch.arange(rows.places * columns.places, dtype=torch.int32).view(rows.places, columns.places)
    grid = places.roll([0 if side.filled else -side.shift for side in (rows, columns)], (0, 1))
    grid = grid.view(rows.windows, rows.window, columns.windows, columns.window).transpose(1, 2).flatten(2)
    kinds: list[Tensor] = []
    masks: list[Tensor] = []
    for (row_seam, down), (column_seam, across) in product(rows.parts, columns.parts):
        kinds.append(grid[down, across].flatten(0, 1))
        below, right = rows.beyond_seam(seam=row_seam), columns.beyond_seam(seam=column_seam)
        region = (2 * below[:, None].int() + right.int()).flatten()
        masks.append(torch.where(region[:, None] == region, 0.0, MASKED))
    return Arrangement(order=torch.cat(kinds), counts=tuple(len(kind) for kind in kinds), masks=torch.stack(masks))
