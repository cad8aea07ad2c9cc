"""One garment on a photograph, scaled and turned: Fashion-MNIST to be classified at the sizes of photographs.

A garment of the training images is laid on another photograph, in another place, each time that it is shown; which
follows from the seed alone. Those that networks are examined with are the same for all, and share neither a garment nor
a photograph with what was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from attnbench.accuracy.composites import photographs
from attnbench.accuracy.composites.batches import KINDS, Supply, normalised, supplies
from attnbench.accuracy.composites.scene import Composite, GarmentPicture, compose
from attnbench.accuracy.data.splits import Dataset, Images, Labels, Split

TRAINED_ON, HELD_OUT = 2_560, 1_000
"""Garments of an epoch, and those that networks are examined with: the first of each split."""
BATCH, EPOCHS = 32, 5
_SCALES = (1 / 3, 3 / 4)
"""Side of a garment's picture, as a part of the image's shorter side."""


class DressedPhotographs(Split):
    """Images of one garment each, made as they are asked for."""

    processes = 0

    def __init__(self, supply: Supply, count: int, *, height: int, width: int) -> None:
        """Take the first so many garments of a supply."""
        self.supply, self.count, self.height, self.width = supply, count, height, width

    def __len__(self) -> int:
        return min(self.count, len(self.supply.kinds))

    def batch(self, indices: Sequence[int], *, draw: int) -> tuple[Images, Labels]:
        """Return the garments at some indices on photographs, and their kinds; ``draw`` decides all but the garment."""
        made = [self._dressed(index, draw) for index in indices]
        pixels = torch.from_numpy(np.stack([each.image for each in made])).permute(0, 3, 1, 2)
        return normalised(pixels), torch.tensor([int(each.kinds[0]) for each in made])

    def _dressed(self, index: int, seed: int) -> Composite:
        draw = np.random.default_rng(_seed(seed, index))
        garment = GarmentPicture(pixels=self.supply.garments[index], kind=int(self.supply.kinds[index]))
        while True:
            photograph = self.supply.photographs[draw.integers(len(self.supply.photographs))]
            found = compose([garment], photograph, draw, height=self.height, width=self.width, scales=_SCALES)
            if len(found.kinds):
                return found


def load(dataset: str, *, height: int, width: int) -> Dataset:
    """Return Fashion-MNIST composed on photographs, at a size.

    Raises:
        DataError: Fashion-MNIST or scikit-image is not there, or cannot be read.
    """
    photographs.check()
    train, held_out = supplies(dataset)
    return Dataset(
        name=dataset,
        kind=f"composed at {height}x{width}",
        train=DressedPhotographs(train, TRAINED_ON, height=height, width=width),
        held_out=DressedPhotographs(held_out, HELD_OUT, height=height, width=width),
        classes=KINDS,
        channels=3,
        height=height,
        width=width,
        batch=BATCH,
        epochs=EPOCHS,
    )


def _seed(draw: int, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"dressed {draw} {index}".encode()).digest()[:7])
