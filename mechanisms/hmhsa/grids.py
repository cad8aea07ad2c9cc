"""Cutting a map into grids of tokens and putting it together again.

A side that the grid does not divide ends in a smaller grid. That is what padding the map and masking the padding
out comes to, without computing either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from attnbench.mechanism import Map, Site

Grids: TypeAlias = Float[Tensor, "_ _ dim"]


class GridSpan(NamedTuple):
    """A stretch of one side of the map, cut into equal pieces."""

    start: int
    stop: int
    piece: int

    @property
    def length(self) -> int:
        """Tokens along the stretch."""
        return self.stop - self.start

    @property
    def pieces(self) -> int:
        """How many pieces the stretch is cut into."""
        return self.length // self.piece


def spans(length: int, grid: int) -> list[GridSpan]:
    """Return the stretch of whole grids of a side and the one of what is left over, each only if there is one."""
    whole = length - length % grid
    found = (GridSpan(0, whole, grid), GridSpan(whole, length, length - whole))
    return [span for span in found if span.length]


def cut(x: Map, grid: int) -> list[Grids]:
    """Return the grids of a map, those of one size together: image by image, row by row."""
    batch, height, width, dim = x.shape
    grids = []
    for down, across in product(spans(height, grid), spans(width, grid)):
        region = x[:, down.start : down.stop, across.start : across.stop]
        pieces = region.view(batch, down.pieces, down.piece, across.pieces, across.piece, dim)
        grids.append(pieces.transpose(2, 3).reshape(-1, down.piece * across.piece, dim))
    return grids


def join(grids: Sequence[Grids], shape: Sequence[int], grid: int) -> Map:
    """Return the map of a shape (B, H, W, C) that ``cut`` took apart."""
    (batch, height, width, dim), each, rows = shape, iter(grids), []
    for down in spans(height, grid):
        columns = []
        for across in spans(width, grid):
            pieces = next(each).view(batch, down.pieces, across.pieces, down.piece, across.piece, dim)
            columns.append(pieces.transpose(2, 3).reshape(batch, down.length, across.length, dim))
        rows.append(concatenated(columns, 2))
    return concatenated(rows, 1)


def concatenated(maps: Sequence[Tensor], axis: int) -> Tensor:
    """Return maps joined along an axis; a single one as it is, because ``torch.cat`` would copy it."""
    return maps[0] if len(maps) == 1 else torch.cat(list(maps), axis)


def pairs(site: Site, grid: int) -> int:
    """Return how many pairs of a query and a key of the same grid a map has."""
    sides = product(spans(site.height, grid), spans(site.width, grid))
    return sum(down.pieces * across.pieces * (down.piece * across.piece) ** 2 for down, across in sides)


def pooled_tokens(site: Site, pool: int, *, partial: bool = True) -> int:
    """Return how many tokens the map has after pooling, where a last, smaller pool counts as one if it is partial."""
    rounded = math.ceil if partial else math.floor
    return rounded(site.height / pool) * rounded(site.width / pool)
