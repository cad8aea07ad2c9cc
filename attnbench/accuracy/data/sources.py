"""Where timm's data-set factory finds images: folders, torchvision's data sets, Hugging Face's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from attnbench.accuracy.data.images import Photos
from attnbench.errors import DataError

Opened: TypeAlias = tuple[Any, Any, int]
"""Training images and held-out images, both with a ``transform`` to be set, and the number of classes."""

_TRAIN = ("train", "training")
_HELD_OUT = ("validation", "val", "valid", "eval", "evaluation")


class Source(ABC):
    """A data set that timm can open."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that the data set is there.

        Raises:
            DataError: it is not.
        """

    @abstractmethod
    def open(self) -> Opened:
        """Return the data set, which ``check`` has found."""


@dataclass(frozen=True, slots=True)
class Folder(Source):
    """Folders of images by class, in one folder to train on and one held out, named as timm knows them."""

    path: str

    def check(self) -> None:
        """Make sure that both folders are there and agree about the classes."""
        train, held_out = (set(_classes_in(folder)) for folder in self._folders())
        if train != held_out:
            differing = ", ".join(sorted(train ^ held_out))
            raise DataError(f"{self.path}: not a class of both the training and the held-out images: {differing}")

    def open(self) -> Opened:
        """Return both folders, the held-out one with the class numbers of the other."""
        from timm.data.dataset_factory import create_dataset  # noqa: PLC0415 - seconds to import

        train, held_out = self._folders()
        known = Photos(create_dataset("", root=str(train)).reader)
        return known, Photos(create_dataset("", root=str(held_out), class_map=known.numbers).reader), known.classes

    def _folders(self) -> tuple[Path, Path]:
        root = Path(self.path).expanduser()
        if not self.path or not root.is_dir():
            raise DataError(f"no folder {self.path!r}; give folder:PATH with train/ and val/ in it")
        return _one_of(root, _TRAIN), _one_of(root, _HELD_OUT)


@dataclass(frozen=True, slots=True)
class Torchvision(Source):
    """A data set of torchvision's, by timm's name for it."""

    name: str
    root: str

    def check(self) -> None:
        """Make sure that torchvision finds both splits under the root."""
        if find_spec("torchvision") is None:
            raise DataError(f"torch/{self.name} needs torchvision: pip install torchvision")
        try:
            self.open()
        except (AssertionError, AttributeError, OSError, RuntimeError) as error:
            advice = f"put it there, or give torch/{self.name}:ROOT"
            raise DataError(f"torch/{self.name} cannot be read under {self.root!r}: {error}; {advice}") from error

    def open(self) -> Opened:
        """Return both splits."""
        from timm.data.dataset_factory import create_dataset  # noqa: PLC0415 - seconds to import

        train, held_out = (create_dataset(f"torch/{self.name}", root=self.root, split=s) for s in ("train", "val"))
        return train, held_out, len(train.classes)


@dataclass(frozen=True, slots=True)
class HuggingFace(Source):
    """A data set of the Hugging Face hub that is already in the cache."""

    name: str
    root: str | None

    def check(self) -> None:
        """Make sure that the cache has the data set."""
        advice = f"python -c \"import datasets; datasets.load_dataset('{self.name}')\""
        if find_spec("datasets") is None:
            raise DataError(f"hfds/{self.name} needs Hugging Face's datasets: pip install datasets, then {advice}")
        import datasets  # type: ignore[import-not-found]  # noqa: PLC0415 - optional

        cache = Path(self.root or datasets.config.HF_DATASETS_CACHE)
        known = {_plain(folder.name) for folder in cache.glob("*/")}
        if _plain(self.name) not in known:
            raise DataError(f"hfds/{self.name} is not in {cache}; fetch it first: {advice}")

    def open(self) -> Opened:
        """Return the training split and the first there is of validation and test."""
        import datasets  # noqa: PLC0415 - optional
        from timm.data.dataset_factory import create_dataset  # noqa: PLC0415 - seconds to import

        found = set(datasets.load_dataset_builder(self.name, cache_dir=self.root).info.splits or ())
        held_out = next((split for split in (*_HELD_OUT, "test") if split in found), None)
        if held_out is None or "train" not in found:
            raise DataError(f"hfds/{self.name} has the splits {sorted(found)}; train and one held out are needed")
        train, rest = (create_dataset(f"hfds/{self.name}", root=self.root, split=s) for s in ("train", held_out))
        return train, rest, len(train.reader.class_to_idx)


def _one_of(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DataError(f"{root} has none of the folders {', '.join(names)}")


def _classes_in(folder: Path) -> list[str]:
    classes = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    if not classes:
        raise DataError(f"{folder} holds no folder of a class; put each class's images in a folder of its own")
    return classes


def _plain(name: str) -> str:
    """Return what the hub's name of a data set and its folder in the cache have in common."""
    return name.lower().replace("___", "/").replace("_", "").replace("-", "")
