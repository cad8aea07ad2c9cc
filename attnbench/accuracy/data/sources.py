"""Where timm's data-set factory finds images: folders, torchvision's data sets, Hugging Face's, shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from attnbench.accuracy.data import folders, shards
from attnbench.accuracy.data.images import OfReader, Photos
from attnbench.errors import DataError

Opened: TypeAlias = tuple[Any, Any, int]
"""Training images and held-out images, both with a ``transform`` to be set, and the number of classes."""

_HELD_OUT = (*folders.HELD_OUT, "test")
"""Splits of Hugging Face's and of shards, the first that there is."""


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
        train, held_out = self._images()
        differing = set(train.classes) ^ set(held_out.classes)
        if differing:
            said = ", ".join(sorted(differing))
            raise DataError(f"{self.path}: not a class of both the training and the held-out images: {said}")
        for images in (train, held_out):
            if images.empty:
                raise DataError(
                    f"{images.root} has no images of {', '.join(images.empty)}; remove such folders from both"
                )

    def open(self) -> Opened:
        """Return both folders, the held-out one with the class numbers of the other."""
        train, held_out = self._images()
        numbers = {name: number for number, name in enumerate(train.classes)}
        photos = [Photos(each.samples, numbers, said=each.remark) for each in (train, held_out)]
        return photos[0], photos[1], len(numbers)

    def _images(self) -> tuple[folders.Images, folders.Images]:
        root = Path(self.path).expanduser()
        if not self.path or not root.is_dir():
            raise DataError(f"no folder {self.path!r}; give folder:PATH with train/ and val/ in it")
        train, held_out = (_one_of(root, names) for names in (folders.TRAIN, folders.HELD_OUT))
        return folders.find(train), folders.find(held_out)


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
        return _read_here(train), _read_here(held_out), len(train.classes)


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
        held_out = next((split for split in _HELD_OUT if split in found), None)
        if held_out is None or "train" not in found:
            raise DataError(f"hfds/{self.name} has the splits {sorted(found)}; train and one held out are needed")
        train, rest = (create_dataset(f"hfds/{self.name}", root=self.root, split=s) for s in ("train", held_out))
        name = f"hfds/{self.name}"
        photos = [
            OfReader(each.reader, name=f"{name}, {split}") for each, split in ((train, "train"), (rest, held_out))
        ]
        return photos[0], photos[1], len(train.reader.class_to_idx)


@dataclass(frozen=True, slots=True)
class WebShards(Source):
    """Shards of the WebDataset form under a folder, as timm reads them: ``_info.json`` names those of each split.

    Images are read where they lie in a shard, in any order; timm's own reader goes through shards in turn, which no
    seed decides where several processes read.
    """

    name: str
    root: str

    def check(self) -> None:
        """Make sure that the shards of both splits are there."""
        self._shards()

    def open(self) -> Opened:
        """Return both splits; the classes are as many as the largest label says."""
        train, held_out = map(shards.read, self._shards())
        return train.images, held_out.images, 1 + max(train.highest_label, held_out.highest_label)

    def _shards(self) -> tuple[list[Path], list[Path]]:
        called = f"wds/{self.name}"
        if find_spec("webdataset") is None:
            raise DataError(f"{called} needs webdataset: pip install webdataset")
        root = Path(self.root).expanduser()
        if not self.root or not shards.info_of(root):
            where = f"{root} has none" if self.root else "no folder is given"
            raise DataError(f"{called}: {where}; give {called}:FOLDER with {' or '.join(shards.INFO)} and shards in it")
        return shards.of_split(called, root, ("train",)), shards.of_split(called, root, _HELD_OUT)


def _read_here(images: Any) -> Any:  # noqa: ANN401 - torchvision's
    """Return a data set of torchvision's, read here where its images are files: it would take any as it lies."""
    from torchvision.datasets import DatasetFolder  # noqa: PLC0415 - seconds to import

    if not isinstance(images, DatasetFolder):
        return images
    names = list(images.classes)
    numbers = {name: label for label, name in enumerate(names)}
    return Photos([(Path(path), names[label]) for path, label in images.samples], numbers)


def _one_of(root: Path, names: tuple[str, ...]) -> Path:
    found = folders.one_of(root, names)
    if found is None:
        raise DataError(f"{root} has none of the folders {', '.join(names)}")
    return found


def _plain(name: str) -> str:
    """Return what the hub's name of a data set and its folder in the cache have in common."""
    return name.lower().replace("___", "/").replace("_", "").replace("-", "")
