"""ADE20K as its scene parsing benchmark lays it out: a class for each pixel of an image, in an image of the same name.

``images/validation/*.jpg`` and ``annotations/validation/*.png``, whose pixels are 0 where there is none of the 150
classes and else 1 more than the class (Zhou et al., CVPR 2017; the archive ADEChallengeData2016.zip).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from attnbench import files
from attnbench.accuracy.data import folders
from attnbench.errors import DataError

CLASSES = 150
IGNORED = -1
"""The label of pixels that no prediction is held against."""
_ARCHIVE = "ADEChallengeData2016"
_UNKNOWN = 255
"""What some tools write for 0."""
_NUMBERS = ("L", "P", "I", "I;16", "1")
"""Pillow's modes in which a pixel is one whole number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedScenes:
    """The validation images with their annotations."""

    root: Path
    images: tuple[Path, ...]
    annotations: tuple[Path, ...]
    """Of each image."""
    left_out: tuple[str, ...] = ()
    """Images without an annotation, and annotations without an image."""


def find(folder: str) -> ParsedScenes:
    """Find the validation images and their annotations, without reading them.

    Raises:
        DataError: there are none where the archive has them.
    """
    root = Path(folder).expanduser()
    if not folder or not root.is_dir():
        raise DataError(f"no folder {folder!r}; give ade20k:PATH with {_ARCHIVE}, as it is unpacked, at PATH")
    if (root / _ARCHIVE).is_dir():
        root = root / _ARCHIVE
    images, annotations = (_below(root / kind / "validation", root) for kind in ("images", "annotations"))
    both = sorted(images.keys() & annotations.keys())
    lonely = {name: images.get(name) or annotations[name] for name in images.keys() ^ annotations.keys()}
    if not both:
        raise DataError(f"{root}: no image of images/validation has one of its name in annotations/validation")
    return ParsedScenes(
        root=root,
        images=tuple(images[name] for name in both),
        annotations=tuple(annotations[name] for name in both),
        left_out=tuple(str(lonely[name].relative_to(root)) for name in sorted(lonely)),
    )


def labels(annotation: Path) -> Int[np.ndarray, "height width"]:
    """Return the class of each pixel, from 0, IGNORED where there is none.

    Raises:
        DataError: it is no image of one number a pixel, or has classes that ADE20K has not.
    """
    try:
        with warnings.catch_warnings(), files.opened(annotation) as file:
            warnings.simplefilter("ignore")  # of large images
            with Image.open(file) as image:
                mode, numbers = image.mode, np.asarray(image)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise DataError(f"{annotation} cannot be read: {str(error) or type(error).__name__}; fetch it again") from error
    if mode not in _NUMBERS or numbers.ndim != 2:
        raise DataError(f"{annotation} is of mode {mode}; a grey image is needed, with the number of a class a pixel")
    found = numbers.astype(np.int64)
    found[found == _UNKNOWN] = 0
    strange = found[(found < 0) | (found > CLASSES)]
    if strange.size:
        raise DataError(f"{annotation} has class {strange[0]}; ADE20K's are 1 to {CLASSES}, and 0 for none")
    return found - 1


def _below(folder: Path, root: Path) -> dict[str, Path]:
    """Return the images of a folder by their names without suffix; those that are hidden are none of them."""
    if not folder.is_dir():
        place = folder.relative_to(root)
        raise DataError(f"{root} has no folder {place}; give ade20k:PATH with {_ARCHIVE}, as it is unpacked, at PATH")
    found = (each for each in sorted(folder.iterdir()) if each.suffix.lower() in folders.SUFFIXES)
    return {each.stem: each for each in found if not each.name.startswith(".") and each.is_file()}
