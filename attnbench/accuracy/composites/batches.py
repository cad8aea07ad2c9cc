"""Composites by the batch: which garments, on which photograph, drawn from a seed wherever and whenever they are made.

What networks are trained on and what they are examined with share neither a garment nor a photograph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from attnbench.accuracy.composites import photographs
from attnbench.accuracy.composites.scene import FEWEST, MOST, Composite, GarmentPicture, compose
from attnbench.accuracy.composites.table import heads
from attnbench.accuracy.data import fashion
from attnbench.accuracy.data.splits import Pixels, Split
from attnbench.errors import DataError
from attnbench.models.dense import DenseTask

KINDS = fashion.KINDS
BATCH = 8
"""Images of a training step."""
HELD_OUT = 128
"""Images that a network is examined with, the same for all."""
_EXAMINED_WITH = 1_000_003
"""The seed of these."""
_GREY, _SPREAD = 0.45, 0.27
"""What pixels, from 0 to 1, are about: their mean, and their deviation from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What composites are made of, of one split."""

    garments: UInt8[np.ndarray, "garments side side"]
    kinds: Int[np.ndarray, " garments"]
    photographs: tuple[UInt8[np.ndarray, "_ _ 3"], ...]

    def composite(self, seed: int, index: int, *, height: int, width: int) -> Composite:
        """Return the composite of a number, the same for one seed always."""
        draw = np.random.default_rng(_seed(seed, index))
        photograph = self.photographs[draw.integers(len(self.photographs))]
        chosen = draw.integers(len(self.kinds), size=draw.integers(FEWEST, MOST + 1))
        pictures = [GarmentPicture(pixels=self.garments[each], kind=int(self.kinds[each])) for each in chosen]
        return compose(pictures, photograph, draw, height=height, width=width)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeBatch:
    """Images with the composites that they are of."""

    images: Float[Tensor, "batch 3 height width"]
    """About 0, with a deviation of about 1."""
    composites: tuple[Composite, ...]

    @property
    def labels(self) -> Int[Tensor, "batch height width"]:
        """Of each pixel 0 for the photograph, or 1 more than the kind of a garment."""
        return torch.from_numpy(np.stack([each.labels for each in self.composites]))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeData:
    """Composites of one size, to train on and to be examined with."""

    train: Supply
    held_out: Supply
    height: int
    width: int
    batch: int = BATCH
    examined: int = HELD_OUT
    """Images that a network is examined with."""

    def training(self, seed: int, step: int) -> CompositeBatch:
        """Return a batch to train on: no image comes twice."""
        return self._batch(self.train, seed, range(step * self.batch, (step + 1) * self.batch))

    def examining(self) -> Iterator[CompositeBatch]:
        """Yield the batches that every network is examined with."""
        for start in range(0, self.examined, self.batch):
            yield self._batch(self.held_out, _EXAMINED_WITH, range(start, min(start + self.batch, self.examined)))

    def _batch(self, supply: Supply, seed: int, numbers: range) -> CompositeBatch:
        made = tuple(supply.composite(seed, each, height=self.height, width=self.width) for each in numbers)
        pixels = torch.from_numpy(np.stack([each.image for each in made])).permute(0, 3, 1, 2)
        return CompositeBatch(images=normalised(pixels), composites=made)


def load(dataset: str, *, height: int, width: int) -> CompositeData:
    """Return composites of a size, as ``--accuracy`` asks for them.

    Raises:
        DataError: Fashion-MNIST or scikit-image is not there, or cannot be read.
    """
    check(dataset)
    train, held_out = supplies(dataset)
    return CompositeData(train=train, held_out=held_out, height=height, width=width)


def supplies(dataset: str) -> tuple[Supply, Supply]:
    """Return what composites are made of, to train on and to be examined with.

    Raises:
        DataError: Fashion-MNIST or scikit-image is not there, or cannot be read.
    """
    garments = fashion.load(_folder(dataset), name=dataset)
    return _supply(garments.train, photographs.TRAINED_ON), _supply(garments.held_out, photographs.HELD_OUT)


def normalised(pixels: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Return the pixels of composites about 0, with a deviation of about 1."""
    return (pixels.float() / 255 - _GREY) / _SPREAD


def check(dataset: str) -> None:
    """Make sure that what composites are made of and scored with is there, without reading images.

    Raises:
        DataError: it is not; the message says what installs it.
    """
    fashion.check(_folder(dataset), asked_as=dataset.partition(":")[0])
    photographs.check()
    if DenseTask.SEGMENTATION not in heads(dataset) and find_spec("pycocotools") is None:
        raise DataError(f"boxes and masks are scored by pycocotools: {photographs.INSTALL}")


def _folder(dataset: str) -> Path:
    given = dataset.partition(":")[2]
    return Path(given).expanduser() if given else fashion.FOLDER


def _supply(garments: Split, names: tuple[str, ...]) -> Supply:
    assert isinstance(garments, Pixels)
    pixels = (garments.images[:, 0] * 255).round().to(torch.uint8)
    return Supply(garments=pixels.numpy(), kinds=garments.labels.numpy(), photographs=tuple(photographs.load(names)))


def _seed(seed: int, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"composite {seed} {index}".encode()).digest()[:7])
