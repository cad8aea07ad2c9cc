"""Images in folders, a folder a class: which images there are, and which classes.

A class is the name of the folder that holds images, and what lies below that is of it. A folder that holds none, nor
folders that do, is a class without images, so that the others keep their numbers. What is hidden, or lies in no
folder of a class, is none of the images: notebooks and file systems leave such copies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attnbench.errors import DataError
from attnbench.wording import few

TRAIN = ("train", "training")
HELD_OUT = ("validation", "val", "valid", "eval", "evaluation")
"""What timm calls the folders of the two splits."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif", ".avif")
"""What torchvision's ImageFolder takes for an image, timm's three among them, and what else Pillow reads."""
_UNREADABLE = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".nef", ".arw")
"""Images of telephones and cameras that Pillow does not read: left out, and named."""
_NOT_OURS = ("__MACOSX", "@eaDir")
"""Folders that an archiver and a file server keep for themselves, beside those whose names begin with a dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of one folder of classes."""

    root: Path
    samples: tuple[tuple[Path, str], ...]
    """Each image with its class, in the order of paths."""
    classes: tuple[str, ...]
    """By name, as text; those without images included."""
    left_out: tuple[str, ...] = ()
    """Hidden folders and files, and files in no class's folder, that look like images and are not taken for any."""

    @property
    def empty(self) -> tuple[str, ...]:
        """The classes that have no images."""
        held = {name for _, name in self.samples}
        return tuple(name for name in self.classes if name not in held)

    @property
    def remark(self) -> str:
        """What a reader must know of it; empty for nothing."""
        said = {
            "without any image of": self.empty,
            "without what is hidden, in no class or in no format that is read:": self.left_out,
        }
        return "; ".join(f"{words} {few(names)}" for words, names in said.items() if names)


def find(root: Path) -> Images:
    """Find the images below a folder of classes, without reading them.

    Links are followed, but for those that lead back to a folder they are in.

    Raises:
        DataError: there are none.
    """
    found = list(_below(root, root, "", ()))
    samples = sorted((path, name) for path, name in found if name and path is not None)
    classes = sorted({name for _, name in found if name})
    left_out = dict.fromkeys(_place(path, root) for path, name in found if not name and path is not None)
    if not classes:
        raise DataError(f"{root} holds no folder of a class; put each class's images in a folder of its own")
    if not samples:
        raise DataError(f"{root} holds no images; files of {', '.join(SUFFIXES)} are needed")
    return Images(root=root, samples=tuple(samples), classes=tuple(classes), left_out=tuple(sorted(left_out)))


def one_of(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first folder of some names, None if there is none of them."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def _below(folder: Path, root: Path, of_class: str, above: tuple[Path, ...]) -> Iterator[tuple[Path | None, str]]:
    """Yield images with their class, an empty one for none, and classes without images with no path."""
    real = Path(os.path.realpath(folder))
    if real in above:
        return
    entries = sorted(folder.iterdir())
    folders = [entry for entry in entries if entry.is_dir()]
    images = [entry for entry in entries if entry.suffix.lower() in (*SUFFIXES, *_UNREADABLE) and entry.is_file()]
    seen = [each for each in images if not _left_out(each)]
    shown = [each for each in folders if not _hidden(each)]
    if folder != root and not of_class and (seen or not shown):
        of_class = folder.name
        yield None, of_class
    yield from ((each, "" if _left_out(each) else of_class) for each in images)
    for each in shown:
        yield from _below(each, root, of_class, (*above, real))
    for each in folders:
        if _hidden(each) and _holds_images(each):
            yield each, ""


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _NOT_OURS


def _left_out(image: Path) -> bool:
    return _hidden(image) or image.suffix.lower() in _UNREADABLE


def _holds_images(folder: Path) -> bool:
    return any(Path(name).suffix.lower() in SUFFIXES for _, _, files in os.walk(folder) for name in files)


def _place(path: Path, root: Path) -> str:
    """Return what is left out as it is told: a hidden folder by its name, which many classes may have."""
    return f"{path.name}/" if path.is_dir() else str(path.relative_to(root))
