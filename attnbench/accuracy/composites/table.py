"""The data sets of composites, with the heads that are trained on each. Imports no torch.

One is asked for by its name, or as ``NAME:FOLDER`` where Fashion-MNIST lies elsewhere than Debian's package puts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attnbench.models.dense import DenseTask
from attnbench.ranges import whole

COMPOSITES: Mapping[str, tuple[DenseTask, ...]] = MappingProxyType(
    {
        "composite-segmentation": (DenseTask.SEGMENTATION,),
        "composite-detection": (DenseTask.DETECTION, DenseTask.INSTANCE),
    }
)
"""The heads that each data set is for; a mechanism is trained under the first unless another is asked for."""
SIDE = whole(128, 512, "pixels")
"""Sides that the images may have."""
DRESSED = "fashion-mnist"
"""The data set whose images are composed at sizes that are asked for: a garment on a photograph, to be classified."""
DRESSED_SIDE = whole(64, 256, "pixels")
"""Sides that these images may have."""
USUAL = (128, 128)
"""Height and width of the images that a mechanism is trained on where none are asked for."""


def is_composite(dataset: str) -> bool:
    """Return whether what ``--accuracy`` is given is one of the data sets of composites.

    Example:
        >>> is_composite("composite-segmentation:data"), is_composite("digits")
        (True, False)
    """
    return dataset.partition(":")[0] in COMPOSITES


def heads(dataset: str) -> tuple[DenseTask, ...]:
    """Return the heads that a data set of composites is for, none if it is another data set."""
    return COMPOSITES.get(dataset.partition(":")[0], ())


def fits(height: int, width: int) -> bool:
    """Return whether composites come in that size."""
    return SIDE.holds(height) and SIDE.holds(width)


def dressed_size(dataset: str, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first of some sizes at which a data set's images are composed, None if they are not.

    Example:
        >>> dressed_size("fashion-mnist", [(512, 512), (64, 96)]), dressed_size("digits", [(64, 64)])
        ((64, 96), None)
    """
    if dataset.partition(":")[0] != DRESSED:
        return None
    return next((size for size in sizes if all(map(DRESSED_SIDE.holds, size))), None)
