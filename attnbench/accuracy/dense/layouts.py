"""What lies in the folder of a data set, found and looked at by the way that it is laid out."""

from __future__ import annotations

from importlib.util import find_spec

from attnbench.accuracy.dense import ade20k, coco
from attnbench.accuracy.dense.table import ADE20K, COCO
from attnbench.errors import DataError

_INSTALL = "pip install attnbench[composites]"


def find(dataset: str) -> ade20k.ParsedScenes | coco.AnnotatedImages:
    """Find the images and annotations of what ``--accuracy`` names.

    Raises:
        DataError: they are not there, or not laid out as the data set is.
    """
    name, _, folder = dataset.partition(":")
    return ade20k.find(folder) if name == ADE20K else coco.find(folder)


def check(dataset: str) -> None:
    """Make sure that a data set is there, and what scores it, without reading images.

    Raises:
        DataError: it is not.
    """
    if dataset.partition(":")[0] == COCO and find_spec("pycocotools") is None:
        raise DataError(f"boxes and masks are scored by pycocotools: {_INSTALL}")
    find(dataset)
