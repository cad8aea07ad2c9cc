"""The layouts in which attention layers take a map, and the way from one to the other."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from attnbench.mechanism import Map

Layout: TypeAlias = Literal["BHWC", "BNC", "BCHW", "NBC", "BTNC"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
FOUND_BY_TRYING: tuple[Layout, ...] = ("BHWC", "BNC", "BCHW")
"""Those that shapes tell apart; with one image, (N, B, C) is like (B, N, C) to most layers, (B, T, N, C) like a map."""
IN_BLOCKS: Layout = "BTNC"
"""That of layers over blocks of tokens, as NesT's: T windows of a map, the N tokens of each in a row."""


def to_module(x: Map, layout: Layout, prefix: Tensor | None = None) -> Tensor:
    """Return a map (B, H, W, C) in another layout, contiguous, as the layers that take it expect it to be.

    Args:
        x: the map.
        layout: the other one.
        prefix: tokens (1, P, C) to stand before those of each map, for ``BNC`` alone.
    """
    if layout == "BNC":
        tokens = x.flatten(1, 2)
        return tokens if prefix is None else torch.cat([prefix.expand(len(tokens), -1, -1), tokens], dim=1)
    if layout == "NBC":
        return x.flatten(1, 2).transpose(0, 1).contiguous()
    if layout == IN_BLOCKS:
        return x.flatten(1, 2).unsqueeze(1)
    return x.permute(0, 3, 1, 2).contiguous() if layout == "BCHW" else x


def cut(x: Map, side: int) -> Map:
    """Return a map (B, H, W, C) in windows, each an image of its own: (B H/s W/s, s, s, C)."""
    batch, height, width, dim = x.shape
    windows = x.reshape(batch, height // side, side, width // side, side, dim).transpose(2, 3)
    return windows.reshape(-1, side, side, dim)


def together(windows: Map, shape: torch.Size) -> Map:
    """Return the map of a given shape that was cut into windows."""
    batch, height, width, dim = shape
    side = windows.shape[1]
    return windows.reshape(batch, height // side, width // side, side, side, dim).transpose(2, 3).reshape(shape)


def blocks(windows: Map, batch: int) -> Tensor:
    """Return the windows of some maps, (B T, s, s, C), as the blocks of tokens of each, (B, T, s s, C)."""
    return windows.reshape(batch, -1, windows.shape[1] * windows.shape[2], windows.shape[3])


def to_map(y: Tensor, layout: Layout, shape: torch.Size, *, prefix_tokens: int = 0) -> Map:
    """Return a map of a given shape (B, H, W, C) from another layout; the tokens before it are dropped."""
    if layout == "BNC":
        return y[:, prefix_tokens:].reshape(shape)
    if layout == "NBC":
        return y.transpose(0, 1).reshape(shape)
    if layout == IN_BLOCKS:
        return y.reshape(shape)
    return y.permute(0, 2, 3, 1) if layout == "BCHW" else y
