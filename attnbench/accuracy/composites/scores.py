"""How right what is predicted of composites is: mean intersection over union, and average precision as COCO has it."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from attnbench.accuracy.composites.scene import Composite

Counts: TypeAlias = Int[np.ndarray, "classes classes"]
"""Pixels by what they are, and by what is said of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is predicted of one image: boxes with kinds and scores, and a mask for each where there are masks."""

    boxes: Float[np.ndarray, "found 4"]
    """Left, top, right and bottom in pixels."""
    kinds: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]
    """The surest is the highest."""
    masks: tuple[Any, ...] | None = None
    """As ``encoded`` makes them: hundreds of images have a hundred masks each."""


def confusion(labels: Int[np.ndarray, "*pixels"], said: Int[np.ndarray, "*pixels"], classes: int) -> Counts:
    """Return how many pixels of each class are said to be of each."""
    counts: Counts = np.bincount(labels.ravel() * classes + said.ravel(), minlength=classes**2)
    return counts.reshape(classes, classes)


def mean_iou(counts: Counts) -> float:
    """Return the mean over classes of the pixels that are rightly said to be of one, by all that are or are said to be.

    Classes that neither are nor are said to be anywhere are left out, as in MMSegmentation.

    Example:
        >>> mean_iou(np.array([[2, 1, 0], [1, 2, 0], [0, 0, 0]]))
        0.5
    """
    right = np.diag(counts)
    either = counts.sum(0) + counts.sum(1) - right
    return float((right[either > 0] / either[either > 0]).mean())


def encoded(masks: Bool[np.ndarray, "masks height width"]) -> tuple[Any, ...]:
    """Return masks by the lengths of their runs, as pycocotools has them."""
    from pycocotools import mask as coco_mask  # noqa: PLC0415 - of an extra

    return tuple(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks)


def average_precision(composites: Sequence[Composite], said: Sequence[Said], *, masks: bool) -> float:
    """Return COCO's AP of boxes or of masks: the mean over kinds and over overlaps of 0.5 to 0.95.

    Args:
        composites: what is there.
        said: what is predicted of each.
        masks: whether masks are scored, and not boxes.
    """
    found = [each for number, one in enumerate(said) for each in results(number, one, masks)]
    return max(0.0, by_coco(_annotated(composites), found, masks=masks))


def by_coco(annotated: Mapping[str, Any], found: Sequence[Mapping[str, Any]], *, masks: bool) -> float:
    """Return the AP that pycocotools comes to: of at most 100 boxes an image, -1 where nothing is annotated.

    Args:
        annotated: what is there, as COCO's files have it, crowds included, for which nothing is right or wrong.
        found: what is predicted, as COCO's results have it.
        masks: whether masks are scored, and not boxes.
    """
    return by_coco_in_draws(annotated, found, masks=masks, draws=())[0]


def by_coco_in_draws(
    annotated: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    *,
    masks: bool,
    draws: Iterable[Int[np.ndarray, " images"]],
) -> tuple[float, list[float]]:
    """Return the AP that pycocotools comes to, and what it comes to of draws of the images.

    Args:
        annotated: as ``by_coco`` has it.
        found: the same.
        masks: the same.
        draws: how often each image is in each of them, in the order of the images' numbers.
    """
    from pycocotools.coco import COCO  # noqa: PLC0415 - of an extra
    from pycocotools.cocoeval import COCOeval  # noqa: PLC0415

    if not found:
        return (0.0 if any(not each["iscrowd"] for each in annotated["annotations"]) else -1.0), []
    with contextlib.redirect_stdout(io.StringIO()):  # it prints whatever it does
        truth = COCO()
        truth.dataset = annotated
        truth.createIndex()
        scored = COCOeval(truth, truth.loadRes(list(found)), "segm" if masks else "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
        return float(scored.stats[0]), list(_of_draws(scored, draws))


def _of_draws(scored: Any, draws: Iterable[Int[np.ndarray, " images"]]) -> Iterator[float]:  # noqa: ANN401 - no types
    """Yield the AP of draws: what was matched within an image is its own, whichever others there are.

    pycocotools keeps that of each image, by category, then by size of things, of which the first is all sizes.
    """
    asked, kinds = copy.copy(scored.params), len(scored.params.catIds)
    sizes, images = len(asked.areaRng), len(asked.imgIds)
    asked.areaRng, asked.maxDets = asked.areaRng[:1], asked.maxDets[-1:]
    matched = [scored.evalImgs[kind * sizes * images : (kind * sizes + 1) * images] for kind in range(kinds)]
    of_draw, unread = copy.copy(scored), [None] * (images * (sizes - 1))
    for draw in draws:
        chosen = np.repeat(np.arange(images), draw)
        of_draw.evalImgs = [it for each in matched for it in (*(each[image] for image in chosen), *unread)]
        of_draw.accumulate(asked)
        precision = of_draw.eval["precision"]
        if (known := precision[precision > -1]).size:
            yield float(known.mean())


def _annotated(composites: Sequence[Composite]) -> dict[str, Any]:
    """Return composites as a file of COCO's has them; kinds count from 1, and so do garments."""
    places = [(number, index) for number, each in enumerate(composites) for index in range(len(each.kinds))]
    return {
        "info": {},
        "images": [
            {"id": number, "height": each.image.shape[0], "width": each.image.shape[1]}
            for number, each in enumerate(composites)
        ],
        "categories": [{"id": kind + 1} for kind in sorted({int(kind) for each in composites for kind in each.kinds})],
        "annotations": [
            {
                "id": at,
                "image_id": number,
                "category_id": int(composites[number].kinds[index]) + 1,
                "bbox": _as_coco(composites[number].boxes[index]),
                "segmentation": encoded(composites[number].masks[index : index + 1])[0],
                "area": int(composites[number].masks[index].sum()),
                "iscrowd": 0,
            }
            for at, (number, index) in enumerate(places, start=1)
        ],
    }


def results(number: int, said: Said, masks: bool) -> Iterator[dict[str, Any]]:
    """Yield what is predicted of the image of a number as COCO's results have it; kinds count from 1."""
    for index, kind in enumerate(said.kinds):
        common = {"image_id": number, "category_id": int(kind) + 1, "score": float(said.scores[index])}
        if masks:
            assert said.masks is not None
            yield common | {"segmentation": said.masks[index]}
        else:
            yield common | {"bbox": _as_coco(said.boxes[index])}


def _as_coco(box: Float[np.ndarray, " 4"]) -> list[float]:
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]
