"""Shards of the WebDataset form: archives in which a sample's files follow each other and share a name.

A sample is an image (``.jpg``, ``.jpeg``, ``.png``, ``.webp``) and its label, a whole number in ``.cls``. Which shards
a split has timm says, from ``_info.json``; where each image lies in them is found here, in one pass over their headers.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.accuracy.data.images import InShards
from attnbench.errors import DataError

INFO = ("_info.json", "info.json")
"""Where timm looks for the shards of a split."""
_IMAGES = ("jpg", "jpeg", "png", "webp")
"""What timm takes for an image of a sample."""
_LONGEST_LABEL = 9
"""Digits of a label that are read: no data set has a billion classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """The images of some shards."""

    images: InShards
    highest_label: int


def info_of(root: Path) -> Path | None:
    """Return the file that says which shards a folder has, None if there is none."""
    return next((root / name for name in INFO if (root / name).is_file()), None)


def of_split(name: str, root: Path, splits: Sequence[str]) -> list[Path]:
    """Return the shards of the first of some splits that there is, as timm resolves it.

    Raises:
        DataError: there is none of them, or a shard that it names is not there.
    """
    from timm.data.dataset_factory import create_dataset  # noqa: PLC0415 - seconds to import

    for split in splits:
        try:
            found = create_dataset(name, root=str(root), split=split).reader.split_info
        except RuntimeError:  # there is no such split
            continue
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{info_of(root)} does not say which shards {split} has: {error!r}") from error
        shards = [root / each for each in found.filenames]
        missing = [str(each) for each in shards if not each.is_file()]
        if missing or not shards:
            raise DataError(f"{name}: {split} has no shards" if not shards else f"{name}: no file {missing[0]}")
        return shards
    raise DataError(f"{info_of(root)} has none of the splits {', '.join(splits)}; one to train on and one held out")


def read(shards: Sequence[Path]) -> Indexed:
    """Find the images of shards, without reading them.

    Raises:
        DataError: a shard is none, or an image in it has no label.
    """
    places: list[tuple[Path, str, int, int]] = []
    labels: list[int] = []
    for shard in shards:
        try:
            found, numbers = _members(shard)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{shard} cannot be read as a shard: {error}; fetch it again") from error
        unlabelled = [name for name in found if name not in numbers]
        if unlabelled:
            raise DataError(f"{shard}: {unlabelled[0]} has no label, a whole number from 0 in {unlabelled[0]}.cls")
        places += [(shard, *place) for place in found.values()]
        labels += [numbers[name] for name in found]
    if not places:
        raise DataError(f"{shards[0].parent}: the shards hold no images; {', '.join(_IMAGES)} are looked for")
    return Indexed(images=InShards(places, labels), highest_label=max(labels))


def _members(shard: Path) -> tuple[dict[str, tuple[str, int, int]], dict[str, int]]:
    """Return the images of a shard by their samples' names, with place and size, and the samples' labels."""
    found: dict[str, tuple[str, int, int]] = {}
    numbers: dict[str, int] = {}
    with tarfile.open(shard, "r:") as archive:  # not compressed: images are read where they lie
        for member in archive:
            folder, _, file = member.name.rpartition("/")
            stem, _, suffix = file.partition(".")
            sample = f"{folder}/{stem}" if folder else stem
            if not member.isreg():
                continue
            if suffix.lower() in _IMAGES:
                found.setdefault(sample, (member.name, member.offset_data, member.size))
            elif suffix.lower() == "cls" and (label := _label(archive, member)) is not None:
                numbers[sample] = label
    return found, numbers


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo) -> int | None:
    file = archive.extractfile(member)
    text = file.read(_LONGEST_LABEL).strip() if file else b""
    return int(text) if text.isdigit() else None
