"""COCO as it is laid out: ``val2017/*.jpg`` and ``annotations/instances_val2017.json`` (Lin et al., ECCV 2014).

Annotations are a stranger's, and pycocotools reads masks in C: each is looked at before. An image with one that does
not do is left out, since what is on it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from attnbench import files
from attnbench.errors import DataError
from attnbench.reading import MisreadError, from_json

Annotation: TypeAlias = dict[str, Any]

CATEGORIES = tuple(number for number in range(1, 91) if number not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""The numbers of the 80 kinds of things that are annotated, of the 91 that were thought of."""
IMAGES, ANNOTATIONS = "val2017", "annotations/instances_val2017.json"
_ADVICE = f"give coco:PATH with {IMAGES} and {ANNOTATIONS} in PATH"
_OF_A_BOX = 4
"""Coordinates that pycocotools takes for a box and not for a polygon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoImage:
    """One image, and what is annotated on it."""

    number: int
    path: Path
    height: int
    width: int
    annotations: tuple[Annotation, ...] = ()
    wrong: str = ""
    """What is wrong with its entry or its annotations; empty if nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImages:
    """The validation images with their annotations."""

    root: Path
    images: tuple[CocoImage, ...]
    left_out: tuple[str, ...] = field(default=())
    """What of the annotations is of no image."""


def find(folder: str) -> AnnotatedImages:
    """Find the validation images and read their annotations.

    Raises:
        DataError: the folder is not laid out as COCO's, or its annotations are none of COCO's.
    """
    root = Path(folder).expanduser()
    if not folder or not root.is_dir():
        raise DataError(f"no folder {folder!r}; {_ADVICE}")
    place = root / ANNOTATIONS
    if not (root / IMAGES).is_dir() or not place.is_file():
        lacking = IMAGES if place.is_file() else ANNOTATIONS
        raise DataError(f"{root} has no {lacking}; {_ADVICE}")
    try:
        read = from_json(files.text_of(place))
    except MisreadError as error:
        raise DataError(f"{place} cannot be read: {error}; fetch it again") from None
    images, annotations, categories = (_listed(read, name, place) for name in ("images", "annotations", "categories"))
    if sorted(str(each.get("id")) for each in categories) != sorted(map(str, CATEGORIES)):
        raise DataError(f"{place} has {len(categories)} categories, which are not the {len(CATEGORIES)} of COCO's")
    return _together(root, images, annotations)


def truth(images: Sequence[CocoImage]) -> dict[str, Any]:
    """Return what is annotated on some images as COCO's files have it."""
    return {
        "info": {},
        "images": [{"id": each.number, "height": each.height, "width": each.width} for each in images],
        "categories": [{"id": number} for number in CATEGORIES],
        "annotations": [dict(one) for each in images for one in each.annotations],
    }


def _listed(read: object, name: str, place: Path) -> list[Annotation]:
    found = read.get(name) if isinstance(read, Mapping) else None
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise DataError(f"{place} has no list of {name}; COCO's annotations of instances are needed")
    return found


def _together(root: Path, images: list[Annotation], annotations: list[Annotation]) -> AnnotatedImages:
    """Return images with what is annotated on each."""
    by_image: dict[int, list[Annotation]] = {}
    for one in annotations:
        image = one.get("image_id")
        by_image.setdefault(image if type(image) is int else -1, []).append(one)
    found = list(_images(root, images, by_image))
    if not found:
        raise DataError(f"{root / ANNOTATIONS}: no image has a number, a file name, a height and a width")
    numbers = {each.number for each in found}
    lost = [f"{len(of)} annotations of image {number}" for number, of in by_image.items() if number not in numbers]
    nameless = len(images) - len(found)
    return AnnotatedImages(
        root=root,
        images=tuple(found),
        left_out=(*([f"{nameless} images without a number or a file of their own"] if nameless else []), *lost),
    )


def _images(root: Path, images: list[Annotation], by_image: Mapping[int, list[Annotation]]) -> Iterator[CocoImage]:
    seen: set[int] = set()
    known: set[int] = set()
    for each in images:
        number, name, height, width = (each.get(key) for key in ("id", "file_name", "height", "width"))
        if type(number) is not int or number in seen or not isinstance(name, str) or Path(name).name != name:
            continue
        if type(height) is not int or type(width) is not int or min(height, width) < 1:
            continue
        seen.add(number)
        on_it = by_image.get(number, [])
        wrong = next(filter(None, (_wrong(one, height, width, known) for one in on_it)), "")
        yield CocoImage(
            number=number, path=root / IMAGES / name, height=height, width=width, annotations=tuple(on_it), wrong=wrong
        )


def _wrong(one: Annotation, height: int, width: int, known: set[int]) -> str:
    """Say what is wrong with an annotation of an image of a size, empty if nothing is, and take down its number."""
    number = one.get("id")
    said = f"annotation {str(number)[:20]}"
    if type(number) is not int or number < 1 or number in known:
        return f"{said} has no number of its own, from 1"
    known.add(number)
    if one.get("category_id") not in CATEGORIES:
        return f"{said} is of category {str(one.get('category_id'))[:20]}, which COCO has not"
    if one.get("iscrowd") not in (0, 1):
        return f"{said} does not say with iscrowd, 0 or 1, whether it is of a crowd"
    box, area = (
        _numbers(one.get("bbox"), most=2 * max(height, width)),
        _numbers([one.get("area")], most=2 * height * width),
    )
    if len(box) != 4 or min(box[2:]) < 0:
        return f"{said} has no bbox of left, top, width and height within its image"
    if not area or area[0] < 0:
        return f"{said} has no area within its image"
    return "" if _is_mask(one.get("segmentation"), height, width) else f"{said} has no segmentation that can be read"


def _is_mask(mask: object, height: int, width: int) -> bool:
    """Return whether a mask is polygons, or lengths of runs that come to the image; pycocotools reads beyond others."""
    if isinstance(mask, list):
        lengths = {len(_numbers(each, most=2 * max(height, width))) for each in mask} or {0}
        return (lengths == {_OF_A_BOX} or min(lengths) > _OF_A_BOX) and not any(length % 2 for length in lengths)
    if not isinstance(mask, dict) or mask.get("size") != [height, width]:
        return False
    runs = mask.get("counts")
    if not isinstance(runs, list) or not all(type(each) is int and each >= 0 for each in runs):
        return False
    return sum(runs) == height * width


def _numbers(values: object, *, most: int) -> list[float]:
    """Return a list if it is one of numbers, none of them beyond a size; else an empty one."""
    if not isinstance(values, list) or not all(type(each) in (int, float) and abs(each) <= most for each in values):
        return []
    return [float(each) for each in values]
