"""The photographs that are installed with scikit-image: behind the garments of composites, and nothing else.

They are read as they lie in the package. Nothing is downloaded: scikit-image would fetch a file that is not there.
"""

from __future__ import annotations

import io
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from attnbench import files
from attnbench.accuracy.data.images import in_colour
from attnbench.errors import DataError

TRAINED_ON = (
    *("astronaut.png", "brick.png", "cell.png", "chelsea.png", "clock_motion.png", "coins.png", "grass.png"),
    *("hubble_deep_field.jpg", "ihc.png", "microaneurysms.png", "motorcycle_left.png", "motorcycle_right.png"),
    *("page.png", "retina.jpg", "text.png"),
)
HELD_OUT = ("camera.png", "coffee.png", "gravel.png", "moon.png", "rocket.jpg")
"""Photographs that no network is trained on."""

INSTALL = "pip install 'attnbench[composites]'"
_FOLDER = "data"


def check() -> None:
    """Make sure that all photographs are there.

    Raises:
        DataError: one is not; the message says what installs them.
    """
    if find_spec("skimage") is None:
        raise DataError(f"composites are made on scikit-image's photographs: {INSTALL}")
    absent = [name for name in (*TRAINED_ON, *HELD_OUT) if not _place(name).is_file()]
    if absent:
        raise DataError(f"scikit-image has no {', '.join(absent)} beside it; install another: {INSTALL} -U")


def load(names: tuple[str, ...]) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Return photographs in colour.

    Raises:
        DataError: one cannot be read.
    """
    return [_read(_place(name)) for name in names]


def _place(name: str) -> Path:
    return Path(str(resources.files("skimage"))) / _FOLDER / name


def _read(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    try:
        with Image.open(io.BytesIO(files.bytes_of(path))) as image:
            return np.asarray(in_colour(image))
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise DataError(f"{path} cannot be read: {error}; install scikit-image again") from error
