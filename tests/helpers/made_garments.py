"""Garments that are drawn and not photographed, and composites of them: for machines that have no Fashion-MNIST."""

from __future__ import annotations

import numpy as np

from attnbench.accuracy.composites.batches import CompositeData, Supply

SIDE, KINDS = 28, 10


def garment(kind: int) -> np.ndarray:
    """A picture that tells its kind: a shape of its own, grey of its own, with a hole that is enclosed."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    high, wide = 4 + kind % 5 * 2.2, 12 - kind % 3 * 3
    inside = (np.abs(rows) <= high) & (np.abs(columns) <= wide) & (np.abs(rows * columns) <= 30 + 20 * (kind % 4))
    pixels = np.where(inside, 60 + 19 * kind, 0)
    pixels[13:15, 13:15] = 0
    return pixels.astype(np.uint8)


def supply(*, seed: int, photographs: int = 2) -> Supply:
    draw = np.random.default_rng(seed)
    return Supply(
        garments=np.stack([garment(kind) for kind in range(KINDS)]),
        kinds=np.arange(KINDS),
        photographs=tuple(draw.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(photographs)),
    )


def composites(*, side: int = 64, batch: int = 2, examined: int = 4) -> CompositeData:
    return CompositeData(
        train=supply(seed=1), held_out=supply(seed=2), height=side, width=side, batch=batch, examined=examined
    )
