"""Data sets of a few made-up garments, in the four files that Fashion-MNIST has."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write_garments(folder: Path, counts: Mapping[str, int]) -> None:
    """Write so many garments of each split; those to train on packed, the others not."""
    draw = np.random.default_rng(0)
    for split, count in counts.items():
        images = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, head, body in (
            ("images-idx3", struct.pack(">4I", 0x803, count, 28, 28), images),
            ("labels-idx1", struct.pack(">2I", 0x801, count), labels),
        ):
            content = head + body.tobytes()
            path = folder / f"{split}-{kind}-ubyte"
            if split == "train":
                path = path.with_name(f"{path.name}.gz")
                content = gzip.compress(content)
            path.write_bytes(content)
