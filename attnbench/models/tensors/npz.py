"""numpy's npz: a zip archive of arrays, pickled objects refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MOST_EXPANDED = 64
"""How many times its size a file may expand to: weights hardly shrink, even where nine in ten are zero tenfold at most,
while zeros alone shrink a thousandfold. What the archive says of the sizes holds, as zipfile reads no further."""


def decode(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a file."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(_native(archive[name])) for name in archive.files}


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
