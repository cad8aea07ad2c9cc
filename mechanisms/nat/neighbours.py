"""Which tokens each token attends to, side by side, and the tiles of queries that are worked on at once: geometry only.

A dilated side falls into groups, the tokens whose index leaves the same rest; each is a side of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

LARGE_FROM = 7
"""The smallest window with large tiles."""
TILE = {"small": 4, "large": 8}
"""The most tokens along a side of a tile. Larger ones multiply more that is masked, smaller ones copy more keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourSide:
    """One side of a map, whose tokens attend to the nearest of their group."""

    length: int
    """Tokens of the side."""
    kernel: int
    """k, tokens along a side of a window where the map has as many."""
    dilation: int
    """Tokens from one key of a window to the next."""

    @classmethod
    def of(cls, length: int, kernel: int, dilation: int) -> NeighbourSide:
        """Return a side whose dilation leaves each group the tokens of a window, or is 1."""
        return cls(length=length, kernel=kernel, dilation=max(1, min(dilation, length // kernel)))

    @property
    def window(self) -> int:
        """Keys of a token: k, or all that there are."""
        return min(self.kernel, self.length)

    @property
    def longest(self) -> int:
        """Tokens of the longest group."""
        return -(-self.length // self.dilation)

    def first(self, place: Tensor, size: Tensor) -> Tensor:
        """Return the first key of tokens, by their place in a group of a size: the window moves inward at the ends."""
        return torch.minimum((place - self.window // 2).clamp(min=0), size - self.window)

    def keys(self) -> tuple[Int[Tensor, "length window"], Int[Tensor, "length window"]]:
        """Return the keys of every token, and their offsets in tokens of the group, counted from 1 - k on."""
        token = torch.arange(self.length)
        group, place = token % self.dilation, token // self.dilation
        key = self.first(place, self._size(group))[:, None] + torch.arange(self.window)
        return group[:, None] + self.dilation * key, key - place[:, None] + self.kernel - 1

    def _size(self, group: Tensor) -> Tensor:
        return (self.length - group + self.dilation - 1) // self.dilation

    def tiles(self) -> TiledSide:
        """Cut every group into tiles of queries, as even as can be, and find the keys that any of them sees."""
        count = -(-self.longest // TILE["small" if self.kernel < LARGE_FROM else "large"])
        tile = -(-self.longest // count)
        span = min(tile + self.window - 1, self.longest)
        group = torch.arange(self.dilation).repeat_interleave(count)[:, None]
        size = self._size(group)
        begin = (torch.arange(count) * tile).repeat(self.dilation)[:, None]
        query = begin + torch.arange(tile)
        start = torch.minimum((begin - self.window // 2).clamp(min=0), (size - span).clamp(min=0))
        key = start + torch.arange(span)
        real = query < size
        first = self.first(torch.minimum(query, size - 1), size)[..., None]
        seen = (key[:, None] >= first) & (key[:, None] < first + self.window)
        offset = key[:, None] - torch.minimum(query, size - 1)[..., None] + self.kernel - 1
        return TiledSide(
            queries=group + self.dilation * torch.minimum(query, size - 1),
            real=real,
            keys=group + self.dilation * torch.minimum(key, size - 1),
            offsets=torch.where(seen, offset, -1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledSide:
    """Tiles of queries along a side. The last of a group may lack tokens, whose places others take."""

    queries: Int[Tensor, "tiles tile"]
    real: Tensor
    keys: Int[Tensor, "tiles span"]
    offsets: Int[Tensor, "tiles tile span"]
    """From each query to each key, counted from 1 - k on; -1 where the key is in no window of the query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourTiles:
    """Tiles of a map, those of one kind next to each other; the kind says which key is at which offset."""

    queries: Int[Tensor, "tiles queries"]
    keys: Int[Tensor, "tiles keys"]
    place: Int[Tensor, " tokens"]
    """Where each token of the map is among the queries."""
    offsets: Int[Tensor, "kinds queries keys"]
    """Into a table of (2 k - 1)^2 biases; one past its end where there is none."""
    counts: tuple[int, ...]
    """Tiles of each kind."""

    @property
    def indices(self) -> dict[str, Tensor]:
        """The tensors, by name."""
        return {"queries": self.queries, "keys": self.keys, "place": self.place, "offsets": self.offsets}

    @classmethod
    def of(cls, sides: tuple[NeighbourSide, NeighbourSide]) -> NeighbourTiles:
        """Put the tiles of both sides together."""
        rows, columns = (side.tiles() for side in sides)
        width, table = sides[1].length, 2 * sides[0].kernel - 1
        patterns, kinds = zip(
            *(torch.unique(each.offsets, dim=0, return_inverse=True) for each in (rows, columns)), strict=True
        )
        kind = (kinds[0][:, None] * len(patterns[1]) + kinds[1]).flatten()
        order = kind.argsort(stable=True)
        pairs = _crossed(rows.queries * width, columns.queries)[order]
        real = (_crossed(rows.real.int(), columns.real.int()) == 2)[order]  # a token down and a token across
        place = torch.empty(sides[0].length * width, dtype=torch.long)
        place[pairs[real]] = torch.arange(pairs.numel()).view_as(pairs)[real]
        present, counts = kind.unique(return_counts=True)
        down, across = (patterns[0][present // len(patterns[1])], patterns[1][present % len(patterns[1])])
        offsets = down[:, :, None, :, None] * table + across[:, None, :, None, :]
        none = (down[:, :, None, :, None] < 0) | (across[:, None, :, None, :] < 0)
        return cls(
            queries=pairs,
            keys=_crossed(rows.keys * width, columns.keys)[order],
            place=place,
            offsets=offsets.masked_fill(none, table**2).flatten(3).flatten(1, 2),
            counts=tuple(counts.tolist()),
        )


def _crossed(down: Int[Tensor, "rows tile"], across: Int[Tensor, "columns other"]) -> Int[Tensor, "tiles area"]:
    """Return the sums of each tile down with each tile across, token by token."""
    return (down[:, None, :, None] + across[None, :, None, :]).flatten(2).flatten(0, 1)
