"""Small folders laid out as ADE20K's and COCO's are, drawn and not photographed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from attnbench.models.dense import DenseTask
from attnbench.models.dense.model import build

CATEGORIES = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth picture of random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def ade20k(root: Path, scenes: Iterable[tuple[np.ndarray, np.ndarray]]) -> Path:
    """Write pictures and the classes of their pixels, as numbers from 1 and 0 for none, and return the folder."""
    images, annotations = (root / kind / "validation" for kind in ("images", "annotations"))
    for folder in (images, annotations):
        folder.mkdir(parents=True)
    for number, (pixels, classes) in enumerate(scenes, start=1):
        name = f"ADE_val_{number:08}"
        Image.fromarray(pixels).save(images / f"{name}.jpg", quality=95)
        Image.fromarray(classes.astype(np.uint8)).save(annotations / f"{name}.png")
    return root


def thing(image: int, category: int, box: Sequence[float], *, crowd: tuple[int, int] | None = None) -> dict[str, Any]:
    """An annotation of a rectangle, left, top, width, height: a polygon, or runs over an image's size for a crowd."""
    left, top, width, height = box
    right, bottom = left + width, top + height
    found = {"image_id": image, "category_id": category, "bbox": list(box), "area": width * height, "iscrowd": 0}
    if crowd is None:
        return found | {"segmentation": [[left, top, right, top, right, bottom, left, bottom]]}
    mask = np.zeros(crowd, dtype=bool)
    mask[int(top) : int(bottom), int(left) : int(right)] = True
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(np.diff(flat))
    runs = np.diff([0, *edges, mask.size]).tolist()
    return found | {"iscrowd": 1, "segmentation": {"size": list(crowd), "counts": runs}}


def coco(root: Path, sizes: Sequence[tuple[int, int]], things: Sequence[dict[str, Any]], **changes: Any) -> Path:
    """Write pictures of some heights and widths, numbered from 1, with what is annotated, and return the folder."""
    images, annotations = root / "val2017", root / "annotations"
    for folder in (images, annotations):
        folder.mkdir(parents=True)
    entries = []
    for number, (height, width) in enumerate(sizes, start=1):
        name = f"{number:012}.jpg"
        Image.fromarray(picture(number, height, width)).save(images / name)
        entries.append({"id": number, "file_name": name, "height": height, "width": width})
    content = {
        "images": entries,
        "annotations": [{"id": number, **each} for number, each in enumerate(things, start=1)],
        "categories": [{"id": number, "name": str(number)} for number in CATEGORIES],
    }
    (annotations / "instances_val2017.json").write_text(json.dumps(content | changes))
    return root


def weights(
    task: DenseTask, network: str = "resnet10t", *, classes: int | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """Random weights of a network and a head that say something: no answer is the same for all images."""
    torch.manual_seed(seed)
    model = build(task, network, height=64, width=64, classes=classes)
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone.body") and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.state_dict()
