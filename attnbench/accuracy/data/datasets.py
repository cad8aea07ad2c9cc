"""Data sets by name: scikit-learn's digits, Fashion-MNIST, and whatever timm's data-set factory reads.

``digits``, ``fashion-mnist``, ``folder:PATH``, ``torch/NAME``, ``hfds/NAME``, ``wds/NAME:ROOT``. Behind the former two
of timm's, ``:ROOT`` says where the data are if not in ``./data`` or in Hugging Face's cache. What is not there is
refused, not downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from attnbench.accuracy.composites.table import COMPOSITES, dressed_size, is_composite
from attnbench.accuracy.data import fashion
from attnbench.accuracy.data.images import in_colour
from attnbench.accuracy.data.sources import Folder, HuggingFace, Source, Torchvision, WebShards
from attnbench.accuracy.data.splits import Dataset, Files, Pixels
from attnbench.accuracy.dense.table import SETS, is_annotated
from attnbench.accuracy.tasks import garments
from attnbench.accuracy.tasks.table import TASKS, is_task, read
from attnbench.devices import machine
from attnbench.errors import DataError, did_you_mean

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""

MakeTransform: TypeAlias = Callable[[dict[str, Any]], Callable[[Any], Tensor]]
"""From what timm resolves for an image size to a transform of images."""

DIGITS = "digits"
_FORMS = (DIGITS, fashion.NAME, *TASKS, *COMPOSITES, *SETS, "folder:PATH", "torch/NAME", "hfds/NAME", "wds/NAME:ROOT")
_MOST_PROCESSES = 8


def check(name: str) -> None:
    """Make sure that a data set is there, without reading its images or downloading anything.

    Raises:
        DataError: it is not, or there is none of that name; the message says what would do.
    """
    if is_task(name):
        task = read(name).task
        if task.garments:
            garments.check(task)
    elif is_composite(name):
        from attnbench.accuracy.composites import batches  # noqa: PLC0415 - scipy.ndimage

        batches.check(name)
    elif is_annotated(name):
        from attnbench.accuracy.dense import layouts  # noqa: PLC0415 - for these alone

        layouts.check(name)
    elif folder := fashion.folder_of(name):
        fashion.check(folder)
    elif name != DIGITS:
        _source(name).check()


def load(name: str, *, image_size: Size | None = None, training: MakeTransform | None = None) -> Dataset:
    """Return a data set at an image size.

    Args:
        name: of it.
        image_size: None takes 224 x 224. Digits are 8 x 8, Fashion-MNIST is 28 x 28, or composed on photographs.
        training: makes the transform of training images, where they are files; None takes timm's own.

    Raises:
        DataError: the data set is not there, or does not come in that size.
    """
    if is_composite(name) or is_annotated(name):
        raise DataError(f"{name} is for networks under heads, by --task; give digits, or folder:PATH")
    if name == DIGITS:
        return _digits(image_size or (8, 8))
    if folder := fashion.folder_of(name):
        return _garments(name, folder, image_size)
    return _transformed(name, _source(name), image_size or (224, 224), training)


def _source(name: str) -> Source:
    if name.startswith("folder:"):
        return Folder(name.removeprefix("folder:"))
    kind, _, rest = name.partition("/")
    known, _, root = rest.partition(":")
    if kind == "torch" and known:
        return Torchvision(known, root or "data")
    if kind == "hfds" and known:
        return HuggingFace(known, root or None)
    if kind == "wds" and known:
        return WebShards(known, root)
    raise DataError(f"no data set is called {name!r}; {did_you_mean(name, _FORMS)}")


def _garments(name: str, folder: Path, size: Size | None) -> Dataset:
    """Fashion-MNIST as it is, or on photographs where a size is asked for that these are composed at."""
    composed = dressed_size(name, [size] if size else [])
    if composed is None:
        return fashion.load(folder, name=name)
    from attnbench.accuracy.composites import dressed  # noqa: PLC0415 - scipy.ndimage

    return dressed.load(name, height=composed[0], width=composed[1])


def _digits(size: Size) -> Dataset:
    """1797 grey images of handwritten digits (Alpaydin and Kaynak, 1998); a quarter of each class is held out."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second to import
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    if size != (8, 8):
        raise DataError(f"digits are 8 x 8 pixels, not {size[0]} x {size[1]}")
    found = load_digits()
    images, labels = torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target)
    train, held_out = train_test_split(range(len(labels)), test_size=0.25, stratify=found.target, random_state=0)
    return Dataset(
        name=DIGITS,
        train=Pixels(images[train], labels[train]),
        held_out=Pixels(images[held_out], labels[held_out]),
        classes=10,
        channels=1,
        height=8,
        width=8,
        batch=64,
        epochs=12,
    )


def _transformed(name: str, source: Source, size: Size, training: MakeTransform | None) -> Dataset:
    """The two splits of a source under timm's transforms for an image size, random ones for training."""
    source.check()
    from timm.data.config import resolve_data_config  # noqa: PLC0415 - seconds to import
    from timm.data.transforms_factory import create_transform  # noqa: PLC0415

    train, held_out, classes = source.open()
    config = resolve_data_config({"input_size": (3, *size)})  # type: ignore[no-untyped-call]
    train.transform = InColour(training(config) if training else create_transform(**config, is_training=True))
    held_out.transform = InColour(create_transform(**config, is_training=False))
    spare_cores = min(_MOST_PROCESSES, machine.whole_cores() - 1)
    return Dataset(
        name=name,
        train=Files(train, spare_cores=spare_cores),
        held_out=Files(held_out, spare_cores=spare_cores),
        classes=classes,
        channels=3,
        height=size[0],
        width=size[1],
        batch=256,
        epochs=30,
        labels=getattr(train, "numbers", {}),
    )


class InColour:
    """A transform that is given RGB, whatever the file holds."""

    def __init__(self, transform: Callable[[Any], Tensor]) -> None:
        self.transform = transform

    def __call__(self, image: Any) -> Tensor:  # noqa: ANN401 - PIL's
        """Return the transformed image, (3, height, width)."""
        return self.transform(in_colour(image))
