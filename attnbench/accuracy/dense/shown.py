"""How images are shown to networks under heads, and what a score of them is. Knows no data set."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from attnbench import files
from attnbench.accuracy.dense.table import ImageScale
from attnbench.errors import DataError
from attnbench.record import Value

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, red, green and blue from 0 to 1: what all papers take off and divide by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadScore:
    """What an evaluation came to."""

    metrics: Mapping[str, float]
    """As fractions, by the names of metrics."""
    remark: str = ""
    """What a reader must know of it, after the word accuracy."""

    def to_metrics(self) -> dict[str, Value]:
        """Return the metrics of a record."""
        return {"accuracy_kind": "evaluated", "accuracy_remark": self.remark or None, **self.metrics}


def pixels(image: Image.Image) -> Float[Tensor, "3 height width"]:
    """Return the pixels of an image in colour, from 0 to 1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def resized(image: Float[Tensor, "3 _ _"], size: tuple[int, int]) -> Float[Tensor, "3 height width"]:
    """Return an image at a size, by linear interpolation without smoothing, as OpenCV does it for the papers."""
    found: Tensor = F.interpolate(image[None], size=size, mode="bilinear")[0]
    return found


def normalised(image: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """Return an image of pixels from 0 to 1 with ImageNet's mean taken off, over its deviation."""
    mean, deviation = (image.new_tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
    return (image - mean) / deviation


def padded(image: Float[Tensor, "3 _ _"], divisor: int) -> Float[Tensor, "3 height width"]:
    """Return an image with zeros to its right and below, up to multiples of a divisor."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % divisor, 0, -height % divisor))


def by_size(images: Sequence[Path], scale: ImageScale, divisor: int) -> list[int]:
    """Return the places of images with those of one size together: a network that is bound to one is built once for it.

    Args:
        images: files, of which the headers are read.
        scale: what they are brought to.
        divisor: what their sides are padded to multiples of.
    """

    def size(path: Path) -> tuple[int, int]:
        try:
            with warnings.catch_warnings(), files.opened(path) as file:
                warnings.simplefilter("ignore")
                with Image.open(file) as image:
                    height, width = scale.size(image.height, image.width)
        except Exception:  # of what cannot be read, which is told where it is
            return 0, 0
        return height + -height % divisor, width + -width % divisor

    sizes = [size(each) for each in images]
    return sorted(range(len(images)), key=lambda place: (sizes[place], place))


def check_alike(name: str, size: Sequence[int], other: Sequence[int], whose: str) -> None:
    """Raise DataError unless an image is as large as what is said of it."""
    if tuple(size) != tuple(other):
        image, said = ("x".join(map(str, each)) for each in (size, other))
        raise DataError(f"{name} is {image} pixels, its {whose} {said}; fetch both again")
