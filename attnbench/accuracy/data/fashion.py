"""Fashion-MNIST: 70,000 grey photographs of garments, 28 x 28 pixels, ten kinds (Xiao et al., 2017, arXiv:1708.07747).

The files are those of the data set itself, packed or not, as Debian's package ``dataset-fashion-mnist`` has them.
Nothing is downloaded.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from attnbench import files
from attnbench.accuracy.data import places
from attnbench.accuracy.data.splits import Dataset, Pixels
from attnbench.errors import DataError

NAME = "fashion-mnist"
FOLDER = places.FASHION_MNIST
SIDE, KINDS = 28, 10
_SPLITS = {"train": 60_000, "t10k": 10_000}
_IMAGES, _LABELS = 0x803, 0x801
"""What the files begin with: unsigned bytes in three dimensions and in one."""


def folder_of(name: str) -> Path | None:
    """Return where the files are to be, None if the name is of another data set.

    Example:
        >>> folder_of("fashion-mnist"), folder_of("fashion-mnist:data"), folder_of("digits")
        (PosixPath('/usr/share/datasets/fashion-mnist'), PosixPath('data'), None)
    """
    known, colon, place = name.partition(":")
    if known != NAME:
        return None
    return Path(place).expanduser() if colon and place else FOLDER


def check(folder: Path, *, asked_as: str = NAME) -> None:
    """Make sure that the four files are there, which are asked for by a name.

    Raises:
        DataError: one is not; the message says where they come from.
    """
    for split in _SPLITS:
        for kind in ("images-idx3", "labels-idx1"):
            _file(folder, f"{split}-{kind}-ubyte", asked_as=asked_as)


def load(folder: Path, *, name: str) -> Dataset:
    """Return the data set with its own split, pixels from 0 to 1.

    Raises:
        DataError: a file is not there, or not what it should be.
    """
    splits = {split: _split(folder, split) for split in _SPLITS}
    return Dataset(
        name=name,
        train=splits["train"],
        held_out=splits["t10k"],
        classes=KINDS,
        channels=1,
        height=SIDE,
        width=SIDE,
        batch=128,
        epochs=5,
    )


def _split(folder: Path, split: str) -> Pixels:
    count = _SPLITS[split]
    images = _read(_file(folder, f"{split}-images-idx3-ubyte"), _IMAGES, (count, SIDE, SIDE))
    labels = _read(_file(folder, f"{split}-labels-idx1-ubyte"), _LABELS, (count,))
    return Pixels(torch.from_numpy(images).float()[:, None] / 255, torch.from_numpy(labels.astype(np.int64)))


def _file(folder: Path, name: str, *, asked_as: str = NAME) -> Path:
    found = next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)
    if found is None:
        raise DataError(
            f"{folder} has no {name}.gz; install Debian's package dataset-fashion-mnist, or give {asked_as}:FOLDER "
            "with the data set's four files"
        )
    return found


def _read(path: Path, begins: int, shape: tuple[int, ...]) -> ndarray:
    """Return the bytes of a file of the IDX format: what it holds, how many in each dimension, and then all of them."""
    try:
        content = files.bytes_of(path)
        if path.suffix == ".gz":  # of which no more is read than there can be
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(4 * (1 + len(shape)) + math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error, files.UnreadableError) as error:
        raise DataError(f"{path} cannot be read: {error}; fetch it again") from None
    head = np.frombuffer(content[: 4 * (1 + len(shape))], dtype=">u4").tolist()
    body = np.frombuffer(content, dtype=np.uint8, offset=min(len(content), 4 * (1 + len(shape))))
    if head != [begins, *shape] or body.size != np.prod(shape):
        raise DataError(f"{path} is not Fashion-MNIST's: it does not hold {' x '.join(map(str, shape))} bytes")
    return body.reshape(shape).copy()
