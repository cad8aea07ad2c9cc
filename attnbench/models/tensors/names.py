"""The names of its classes that a checkpoint brings, in the places where training code and hubs put them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from attnbench import files
from attnbench.models.tensors.file import beside_tensors
from attnbench.reading import MisreadError, from_json

_PLACES = (
    *("class_to_idx", "idx_to_class", "classes", "class_names", "CLASSES"),
    *("label_names", "labels", "id2label", "label2id", "names", "categories"),
)
"""What lists and mappings of classes are called: torchvision, MMPretrain, timm, transformers, and people's own."""
_DEEPEST, _MOST_ENTRIES = 4, 50_000
_BESIDE = "config.json"
"""What hubs keep beside a file of weights."""


def candidates(path: Path) -> Iterator[object]:
    """Yield what may be the names of a checkpoint's classes: of the file, then of the configuration beside it.

    Raises:
        DataError: the file is no checkpoint.
    """
    yield from _named(beside_tensors(path))
    beside = path.with_name(_BESIDE)
    if beside.is_file():
        try:
            yield from _named(from_json(files.text_of(beside)))
        except MisreadError:
            return  # it is somebody else's file, and nobody asked for it


def _named(tree: object) -> Iterator[object]:
    """Yield what stands under a name for classes, outermost first, of a tree that may contain itself."""
    level, seen = [tree], 0
    for _ in range(_DEEPEST):
        inside = [each for each in level if isinstance(each, Mapping)]
        yield from (_json(each[place]) for each in inside for place in _PLACES if place in each)
        level = list(islice(chain.from_iterable(each.values() for each in inside), _MOST_ENTRIES - seen))
        seen += len(level)


def _json(value: object) -> object:
    """Return what a text holds as JSON, as safetensors has to keep everything in texts."""
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except MisreadError:
        return None
