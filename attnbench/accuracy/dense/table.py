"""The data sets that networks are evaluated on under heads, and how images are shown to them. Imports no torch.

One is asked for as ``NAME:FOLDER``. Sizes are those that the papers evaluate at which compare backbones: the shorter
side is brought to a length unless the longer one would be more than another, shapes are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from attnbench.models.dense import DenseTask


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScale:
    """What the sides of images are brought to, in pixels.

    Example:
        >>> ImageScale(shorter=800, longest=1333).size(480, 640), ImageScale(shorter=800, longest=1333).size(200, 900)
        ((800, 1067), (296, 1333))
    """

    shorter: int
    longest: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width that an image is brought to."""
        factor = min(self.shorter / min(height, width), self.longest / max(height, width))
        return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedSet:
    """A data set with annotations for dense tasks."""

    title: str
    heads: tuple[DenseTask, ...]
    scale: ImageScale
    """What papers evaluate at."""
    divisor: int
    """What sides are padded to multiples of."""
    images: int
    """Of the whole validation set."""


ADE20K, COCO = "ade20k", "coco"
SETS: Mapping[str, AnnotatedSet] = MappingProxyType(
    {
        ADE20K: AnnotatedSet(
            title="ADE20K",
            heads=(DenseTask.SEGMENTATION,),
            scale=ImageScale(shorter=512, longest=2048),
            divisor=1,
            images=2000,
        ),
        COCO: AnnotatedSet(
            title="COCO",
            heads=(DenseTask.DETECTION, DenseTask.INSTANCE),
            scale=ImageScale(shorter=800, longest=1333),
            divisor=32,
            images=5000,
        ),
    }
)
"""By the name that ``--accuracy`` takes."""


def is_annotated(dataset: str) -> bool:
    """Return whether what ``--accuracy`` is given is one of these data sets.

    Example:
        >>> is_annotated("ade20k:data"), is_annotated("folder:ade20k")
        (True, False)
    """
    return dataset.partition(":")[0] in SETS


def asked(dataset: str) -> tuple[AnnotatedSet, str]:
    """Return a data set and the folder that it is to be in, as ``--accuracy`` names them."""
    name, _, folder = dataset.partition(":")
    return SETS[name], folder


def heads(dataset: str) -> tuple[DenseTask, ...]:
    """Return the heads that a data set is for, none if it is another one."""
    return asked(dataset)[0].heads if is_annotated(dataset) else ()


def annotated_by(head: str) -> tuple[str, ...]:
    """Return the names of the data sets that are for a head, by its name; none for no head.

    Example:
        >>> annotated_by("detection"), annotated_by("")
        (('coco',), ())
    """
    return tuple(name for name, each in SETS.items() if head in each.heads)


def scale_at(dataset: str, height: int, width: int) -> ImageScale:
    """Return what images are brought to where the head's cost is that of an image size: the papers' at their size.

    At another size, the shorter side is that of the image size, and the longest grows or shrinks with it.
    """
    usual = asked(dataset)[0].scale
    shorter = min(height, width)
    return ImageScale(shorter=shorter, longest=int(usual.longest * shorter / usual.shorter + 0.5))
