"""How a map is parted into blocks or grids: geometry only, no learned weights.

A block is a window of neighbours, a grid takes every s-th token. Where the window does not divide a side, the groups
along it are of two sizes: whole blocks and one remainder, or grids with one token more and one less. That is what
padding the map and masking the padding out comes to, without computing either. Hence groups of at most four kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnbench.mechanisms.swin.permuted import permuted


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Groups of one size along one side of a map."""

    first: int
    """The first token of the first group."""
    groups: int
    """How many groups there are."""
    size: int
    """Tokens of a group."""
    between: int
    """Steps from a group to the next."""
    apart: int
    """Steps from a token to the next of its group."""

    @property
    def tokens(self) -> Int[Tensor, "groups size"]:
        """Index along the side of each token of each group."""
        groups, places = (torch.arange(count, dtype=torch.int32) for count in (self.groups, self.size))
        return self.first + self.between * groups[:, None] + self.apart * places


def blocks(length: int, window: int) -> list[Part]:
    """Part a side into runs of ``window`` tokens, the last of which may be shorter."""
    whole, rest = divmod(length, window)
    parts = (
        Part(first=0, groups=whole, size=window, between=window, apart=1),
        Part(first=length - rest, groups=1, size=rest, between=window, apart=1),
    )
    return [part for part in parts if part.groups and part.size]


def grids(length: int, window: int) -> list[Part]:
    """Part a side into combs of at most ``window`` tokens, as close as that allows."""
    apart = -(-length // window)
    size, longer = divmod(length, apart)
    parts = (
        Part(first=0, groups=longer, size=size + 1, between=1, apart=apart),
        Part(first=longer, groups=apart - longer, size=size, between=1, apart=apart),
    )
    return [part for part in parts if part.groups]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All groups of a map that have the same height and width."""

    rows: Part
    columns: Part

    @property
    def groups(self) -> int:
        """How many there are."""
        return self.rows.groups * self.columns.groups

    @property
    def area(self) -> int:
        """Tokens of one group."""
        return self.rows.size * self.columns.size

    def order(self, width: int) -> Int[Tensor, " tokens"]:
        """Return the index in a map of a width, row by row, of each token, group by group."""
        rows, columns = self.rows.tokens[:, None, :, None], self.columns.tokens[None, :, None, :]
        return (rows * width + columns).flatten()


def kinds(rows: Sequence[Part], columns: Sequence[Part]) -> list[Kind]:
    """Return every kind of group that a map parted down and across has."""
    return [Kind(rows=down, columns=across) for down, across in product(rows, columns)]


def rearranged(
    x: Float[Tensor, "batch tokens dim"], order: Int[Tensor, " tokens"], inverse: Int[Tensor, " tokens"]
) -> Float[Tensor, "batch tokens dim"]:
    """Return tokens in another order, given as the index of each and its inverse."""
    return permuted(x, order, inverse, axis=1)
