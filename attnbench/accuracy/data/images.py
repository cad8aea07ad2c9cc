"""Images in colour, as people have them: each read as what it is, or named. What was seen of each is noted."""

from __future__ import annotations

import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.ExifTags import Base
from PIL.Image import Transpose
from torch import Tensor

from attnbench.errors import DataError
from attnbench.wording import number_of

Transform = Callable[[Image.Image], Tensor]

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_WITHOUT_RANGE = ("I", "F")
"""Modes of numbers of which nobody can say which is white."""
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What sets an image upright, by the orientation of its EXIF data."""
UNREAD, TURNED, FRAMES = 1, 2, 4
"""What was seen of an image: that it cannot be read, is turned by its EXIF data, has several frames."""
_MOST_NAMED = 5


class Pictures(ABC):
    """Images that are opened one by one, each with the number of its class, transformed as ``transform`` says.

    timm's own data set puts the next image in place of one that cannot be read; here that is an error, and noted.
    """

    def __init__(self, count: int, transform: Transform | None = None, *, said: str = "") -> None:
        """Begin with nothing seen.

        Args:
            count: of images.
            transform: what is done to each image.
            said: what a reader must know of them before any is read; empty for nothing.
        """
        self.transform, self._said = transform, said
        self._seen = torch.zeros(count, dtype=torch.uint8)
        with suppress(RuntimeError):  # without shared memory no process reads ahead
            self._seen.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self._seen)

    @abstractmethod
    def opened(self, index: int) -> tuple[io.BufferedIOBase, int]:
        """Return an image's file, open, and the number of its class."""

    @abstractmethod
    def named(self, index: int) -> str:
        """Return what an image is called where it is told of."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image, (3, height, width), and the number of its class.

        Raises:
            DataError: the file is no image, or none that can be read as what it is.
        """
        assert self.transform is not None
        pixels, label = self.upright(index)
        return self.transform(pixels), label

    def upright(self, index: int) -> tuple[Image.Image, int]:
        """Return an image in colour, before any transform, and the number of its class.

        Raises:
            DataError: the file is no image, or none that can be read as what it is.
        """
        try:
            file, label = self.opened(index)
            with file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of large images, of EXIF data that are damaged; errors are told
                with Image.open(file) as image:  # type: ignore[arg-type] # it is one
                    pixels = in_colour(image)
                    self._seen[index] = FRAMES * (getattr(image, "n_frames", 1) > 1) + TURNED * _lies_turned(image)
        except Exception as error:  # Pillow's decoders raise whatever they stumble over
            self._seen[index] = UNREAD
            said = str(error) or type(error).__name__
            raise DataError(f"{self.named(index)} cannot be read as an image: {said}; replace or remove it") from error
        return pixels, label

    @property
    def remark(self) -> str:
        """What a reader must know of the images that were read by now; empty for nothing."""
        unread = [self.named(index) for index in self._which(UNREAD)]
        named = ", ".join(unread[:_MOST_NAMED]) + (", ..." if len(unread) > _MOST_NAMED else "")
        turned, frames = len(self._which(TURNED)), len(self._which(FRAMES))
        said = [
            self._said,
            f"without {number_of(len(unread), 'image')} that cannot be read: {named}" if unread else "",
            f"with {number_of(turned, 'image')} set upright by EXIF data, which timm and torchvision leave as they lie"
            if turned
            else "",
            f"with the first frame of {number_of(frames, 'image')} that have several" if frames else "",
        ]
        return "; ".join(filter(None, said))

    def _which(self, seen: int) -> list[int]:
        return (self._seen & seen).nonzero().flatten().tolist()


class Photos(Pictures):
    """The images of a folder."""

    def __init__(
        self,
        samples: Sequence[tuple[Path, str]],
        numbers: Mapping[str, int],
        transform: Transform | None = None,
        *,
        said: str = "",
    ) -> None:
        """Take images as they were found.

        Args:
            samples: each file with the name of its class.
            numbers: of the classes, by name.
            transform: what is done to each image.
            said: what a reader must know of them before any is read.
        """
        super().__init__(len(samples), transform, said=said)
        self.numbers = numbers
        self._samples = [(path, numbers[name]) for path, name in samples]

    def opened(self, index: int) -> tuple[io.BufferedIOBase, int]:
        """Return an image's file, open, and the number of its class."""
        path, label = self._samples[index]
        return path.open("rb"), label

    def named(self, index: int) -> str:
        """Return its path."""
        return str(self._samples[index][0])


class OfReader(Pictures):
    """The images that one of timm's readers finds, which are read here as those of folders are."""

    def __init__(self, reader: Any, *, name: str) -> None:  # noqa: ANN401 - timm is untyped
        """Take a reader, which gives a file and the number of a class for each index, by the name of its data set."""
        super().__init__(len(reader))
        self._reader, self._name = reader, name

    def opened(self, index: int) -> tuple[io.BufferedIOBase, int]:
        """Return an image's file, open, and the number of its class."""
        file, label = self._reader[index]
        return file, int(label)

    def named(self, index: int) -> str:
        """Return its place in the data set."""
        return f"image {index} of {self._name}"


class InShards(Pictures):
    """Images that lie one after the other in archives."""

    def __init__(self, places: Sequence[tuple[Path, str, int, int]], labels: Sequence[int]) -> None:
        """Take images as they were found.

        Args:
            places: each one's archive, its name there, its first byte and how many it has.
            labels: the numbers of their classes.
        """
        super().__init__(len(places))
        self._places, self._labels = places, labels

    def opened(self, index: int) -> tuple[io.BufferedIOBase, int]:
        """Return an image's bytes as a file, and the number of its class."""
        shard, _, start, size = self._places[index]
        with shard.open("rb") as file:
            file.seek(start)
            return io.BytesIO(file.read(size)), self._labels[index]

    def named(self, index: int) -> str:
        """Return its name and the archive's."""
        shard, name, _, _ = self._places[index]
        return f"{name} in {shard}"


def in_colour(image: Image.Image) -> Image.Image:
    """Return an image in eight bits of red, green and blue, upright: the first frame where it has several.

    Raises:
        ValueError: its numbers have no range, so that any picture of them would be made up.
    """
    turn = _TURNS.get(_orientation(image))
    # Pillow before 11 has PNG's 16 bits as "I".
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format == "PNG"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if image.mode in _WITHOUT_RANGE:
        raise ValueError(f"its pixels are of mode {image.mode}, which has no white; save it with 8 or 16 bits")
    upright = image if turn is None else image.transpose(turn)
    return upright.convert("RGB")


def _lies_turned(image: Image.Image) -> bool:
    return _orientation(image) in _TURNS


def _orientation(image: Image.Image) -> int:
    """Return the orientation that an image's EXIF data say it has in the file, 1 where they say none."""
    if image.format == "TIFF":  # whose decoder sets it upright
        return 1
    try:
        return int(image.getexif().get(Base.Orientation, 1))
    except Exception:  # whatever is stumbled over in data that are not needed
        return 1
