"""The three layouts in which attention layers take a map, and the way from one to the other."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from attnbench.mechanism import Map

Layout: TypeAlias = Literal["BHWC", "BNC", "BCHW"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def to_module(x: Map, layout: Layout) -> Tensor:
    """Return a map (B, H, W, C) in another layout, contiguous, as the layers that take it expect it to be."""
    if layout == "BNC":
        return x.flatten(1, 2)
    return x.permute(0, 3, 1, 2).contiguous() if layout == "BCHW" else x


def to_map(y: Tensor, layout: Layout, shape: torch.Size) -> Map:
    """Return a map of a given shape (B, H, W, C) from another layout."""
    if layout == "BNC":
        return y.reshape(shape)
    return y.permute(0, 2, 3, 1) if layout == "BCHW" else y
