"""How a map is cut into tiles of queries and the overlapping pieces that hold all keys of a tile: geometry only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float
from torch import Tensor

Maps: TypeAlias = Float[Tensor, "batch height width heads head_dim"]
Pieces: TypeAlias = Float[Tensor, "pieces tokens head_dim"]
Bias: TypeAlias = Float[Tensor, "heads window window"]
Spread: TypeAlias = Float[Tensor, "heads queries keys"]

TILE = {"small": 4, "large": 8}
"""The most tokens along a side of a tile, for windows below 7 and from 7 on.

Larger tiles multiply more that is masked, smaller ones copy more keys.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSide:
    """Pieces of one length, one after the other along a side; they may overlap each other and reach off the map."""

    length: int
    """Tokens of the side."""
    start: int
    """Where the first piece begins; negative off the map."""
    count: int
    step: int
    """Tokens from one piece's beginning to the next one's."""
    span: int
    """Tokens of a piece."""

    @property
    def end(self) -> int:
        """Where the last piece ends."""
        return self.start + (self.count - 1) * self.step + self.span

    @property
    def beyond(self) -> tuple[int, int]:
        """How many tokens the pieces reach off either end of the map."""
        return max(0, -self.start), max(0, self.end - self.length)

    @property
    def covered(self) -> slice:
        """The tokens that the pieces cover."""
        return slice(max(0, self.start), min(self.length, self.end))

    def part(self, first: int, count: int) -> TileSide:
        """Return some of the pieces."""
        start = self.start + first * self.step
        return TileSide(length=self.length, start=start, count=count, step=self.step, span=self.span)

    def margin(self, window: int) -> int:
        """Return by how many tokens a piece's first key may precede the window of a query of its tile."""
        return (self.step + self.span - 1 - window) // 2

    def off(self, device: torch.device) -> Bool[Tensor, "count span"]:
        """Tell for each token of each piece whether it is off the map."""
        first = self.start + self.step * torch.arange(self.count, device=device)
        place = first[:, None] + torch.arange(self.span, device=device)
        return (place < 0) | (place >= self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Pieces of a map."""

    rows: TileSide
    columns: TileSide

    def part(self, first: tuple[int, int], size: tuple[int, int]) -> Grid:
        """Return some of the pieces, both arguments down and across."""
        return Grid(rows=self.rows.part(first[0], size[0]), columns=self.columns.part(first[1], size[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Tiles of queries, and for each the piece of the map that its queries' windows cover."""

    queries: Grid
    keys: Grid

    @classmethod
    def of(cls, height: int, width: int, *, window: int) -> Tiles:
        """Cut a map into tiles as even as can be."""
        (rows, key_rows), (columns, key_columns) = _cut(height, window), _cut(width, window)
        return cls(queries=Grid(rows=rows, columns=columns), keys=Grid(rows=key_rows, columns=key_columns))

    @property
    def count(self) -> int:
        """Tiles of one map."""
        return self.queries.rows.count * self.queries.columns.count

    @property
    def products_per_tile(self) -> int:
        """Pairs of a query and a key of one tile."""
        sides = (self.queries.rows, self.queries.columns, self.keys.rows, self.keys.columns)
        return prod(side.span for side in sides)

    def parts(self, most: int) -> Iterator[Tiles]:
        """Yield so many tiles at a time at most, whole rows of them where they fit."""
        rows, columns = self.queries.rows.count, self.queries.columns.count
        across = min(columns, most)
        down = max(1, most // columns)
        for row, column in product(range(0, rows, down), range(0, columns, across)):
            size = (min(down, rows - row), min(across, columns - column))
            yield Tiles(queries=self.queries.part((row, column), size), keys=self.keys.part((row, column), size))

    def off(self, device: torch.device) -> Bool[Tensor, "tiles keys"] | None:
        """Tell for each key of each tile whether it is off the map; None if none is."""
        rows, columns = self.keys.rows, self.keys.columns
        if not any(rows.beyond + columns.beyond):
            return None
        off = rows.off(device)[:, None, :, None] | columns.off(device)[:, None]
        return off.reshape(rows.count * columns.count, -1)


def _cut(length: int, window: int) -> tuple[TileSide, TileSide]:
    """Cut a side into queries and keys; where there is one tile it sees the whole side and nothing off it."""
    count = -(-length // TILE["small" if window < 7 else "large"])
    tile = -(-length // count)
    queries = TileSide(length=length, start=0, count=count, step=tile, span=tile)
    if count == 1:
        return queries, queries
    return queries, TileSide(length=length, start=-(window // 2), count=count, step=tile, span=tile + window - 1)


def gather(maps: Maps, grid: Grid) -> Pieces:
    """Return the pieces, image by image, row by row, head by head, with zeros for what is off the map."""
    rows, columns = grid.rows, grid.columns
    padded = F.pad(maps[:, rows.covered, columns.covered], (0, 0, 0, 0, *columns.beyond, *rows.beyond))
    pieces = padded.unfold(1, rows.span, rows.step).unfold(2, columns.span, columns.step)
    return pieces.permute(0, 1, 2, 3, 5, 6, 4).reshape(-1, rows.span * columns.span, maps.shape[-1])


def scatter(maps: Maps, pieces: Pieces, grid: Grid) -> None:
    """Add pieces to the maps where ``gather`` takes them from; what is off the map is dropped."""
    rows, columns = grid.rows, grid.columns
    batch, *_, heads, head_dim = maps.shape
    split = pieces.view(batch, rows.count, columns.count, heads, rows.span, columns.span, head_dim)
    split = split.permute(0, 1, 4, 2, 5, 3, 6)
    height, width = (side.step * (side.count - 1 - (-side.span // side.step)) for side in (rows, columns))
    padded = maps.new_zeros(batch, height, width, heads, head_dim)
    # Cut into parts of a step at most, neighbouring pieces no longer overlap.
    for down, across in product(_parts(rows), _parts(columns)):
        part = split[:, :, down, :, across]
        target = padded[:, down.start : down.start + rows.count * rows.step]
        target = target[:, :, across.start : across.start + columns.count * columns.step]
        target = target.view(batch, rows.count, rows.step, columns.count, columns.step, heads, head_dim)
        target[:, :, : part.shape[2], :, : part.shape[4]].add_(part)
    covered = maps[:, rows.covered, columns.covered]
    top, left = rows.beyond[0], columns.beyond[0]
    covered.add_(padded[:, top : top + covered.shape[1], left : left + covered.shape[2]])


def _parts(side: TileSide) -> list[slice]:
    return [slice(first, min(first + side.step, side.span)) for first in range(0, side.span, side.step)]


def spread(bias: Bias, keys: Grid) -> Spread:
    """Return the bias between each query of a tile and each of its keys, -inf where the key is not in its window."""
    rows, columns, window = keys.rows, keys.columns, bias.shape[-1]
    down, across = rows.margin(window), columns.margin(window)
    padded = F.pad(bias, (across, across, down, down), value=-torch.inf)
    # With queries counted backwards, the window over the padded bias slides forwards.
    slid = padded.unfold(1, rows.span, 1).unfold(2, columns.span, 1).flip(1, 2)
    return slid.reshape(len(bias), rows.step * columns.step, rows.span * columns.span)


def collect(grad: Spread, window: int, keys: Grid) -> Bias:
    """Return the gradient of the bias from that of what ``spread`` returns."""
    rows, columns, heads = keys.rows, keys.columns, len(grad)
    down, across = rows.margin(window), columns.margin(window)
    height, width = window + 2 * down, window + 2 * across
    slid = grad.view(heads, rows.step, columns.step, rows.span, columns.span).flip(1, 2)
    backward = torch.ops.aten.unfold_backward
    slid = backward(slid, [heads, rows.step, width, rows.span], 2, columns.span, 1)
    return F.pad(backward(slid, [heads, height, width], 1, rows.span, 1), (-across, -across, -down, -down))
