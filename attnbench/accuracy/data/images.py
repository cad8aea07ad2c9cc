"""Images of folders, in colour: each read as what it is, or refused with its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from attnbench.errors import DataError

Transform = Callable[[Image.Image], Tensor]

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_WITHOUT_RANGE = ("I", "F")
"""Modes of numbers of which nobody can say which is white."""


class Photos:
    """The images of a folder with the numbers of their classes, transformed as ``transform`` says.

    timm's own data set puts the next image in place of one that cannot be read; here that is an error.
    """

    def __init__(
        self, samples: Sequence[tuple[Path, str]], numbers: Mapping[str, int], transform: Transform | None = None
    ) -> None:
        """Take images as they were found.

        Args:
            samples: each file with the name of its class.
            numbers: of the classes, by name.
            transform: what is done to each image.
        """
        self.transform = transform
        self._samples = [(path, numbers[name]) for path, name in samples]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image, (3, height, width), and the number of its class.

        Raises:
            DataError: the file is no image, or none that can be read as what it is.
        """
        assert self.transform is not None
        path, label = self._samples[index]
        try:
            with path.open("rb") as file, Image.open(file) as image:
                pixels = in_colour(image)
        except Exception as error:  # Pillow's decoders raise whatever they stumble over
            said = str(error) or type(error).__name__
            raise DataError(f"{path} cannot be read as an image: {said}; replace or remove it") from error
        return self.transform(pixels), label


def in_colour(image: Image.Image) -> Image.Image:
    """Return an image in eight bits of red, green and blue.

    Raises:
        ValueError: its numbers have no range, so that any picture of them would be made up.
    """
    # Pillow before 11 has PNG's 16 bits as "I".
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in _WITHOUT_RANGE:
        raise ValueError(f"its pixels are of mode {image.mode}, which has no white; save it with 8 or 16 bits")
    return image.convert("RGB")
