"""One composite: garments scaled, turned and laid over each other on a crop of a photograph, drawn from a seed.

What is seen of a garment is exact by definition. The centre of a pixel is taken back to the garment's own 28 x 28
picture; the garment covers the pixel where it falls on a place of its outline, and the one that was laid down last is
seen. The outline is every place that is lighter than ``BLACK``, and whatever these enclose. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from scipy.ndimage import binary_fill_holes

Places: TypeAlias = Float[np.ndarray, "..."]

FEWEST, MOST = 1, 8
"""Garments of a composite."""
SCALES = (1 / 6, 1 / 2)
"""Side of a garment's picture, as a part of the image's shorter side."""
BLACK = 15
"""Grey, of 255, up to which a place is none of the garment: there is a haze around many."""
TURNS = math.pi / 4
"""Angle in radians up to which a garment is turned, either way."""
LEAST_SEEN = 0.3
"""Part of a garment's outline that the border and the garments above leave, at least."""
_TRIES = 20
"""Places that are tried for a garment before it is left out."""
_CROPS = (0.4, 1.0)
"""Sides of a crop, as a part of the largest of the image's shape."""
_PALEST, _DARKEST = 0.3, 0.2
"""The least that a colour has of red, green and blue; what is left of it where a garment is black."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GarmentPicture:
    """A picture of a garment."""

    pixels: UInt8[np.ndarray, "side side"]
    kind: int

    @property
    def outline(self) -> Bool[np.ndarray, "side side"]:
        """The places that are the garment."""
        return np.asarray(binary_fill_holes(self.pixels > BLACK), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """Where a garment lies: its picture's middle in pixels, its side in pixels, its angle in radians."""

    x: float
    y: float
    side: float
    angle: float

    def back(self, rows: Places, columns: Places, across: int) -> tuple[Places, Places]:
        """Return where the centres of pixels fall in a picture of so many places across: down, and to the right."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        right, down = columns + 0.5 - self.x, rows + 0.5 - self.y
        scale = across / self.side
        return (down * cos - right * sin) * scale + across / 2, (right * cos + down * sin) * scale + across / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """An image with what is on it."""

    image: UInt8[np.ndarray, "height width 3"]
    kinds: Int[np.ndarray, " garments"]
    masks: Bool[np.ndarray, "garments height width"]
    """What is seen of each garment: no pixel is of two."""
    boxes: Float[np.ndarray, "garments 4"]
    """Left, top, right and bottom of what is seen, in pixels; right and bottom are the first ones beyond."""

    @property
    def labels(self) -> Int[np.ndarray, "height width"]:
        """Of each pixel 0 for the photograph, or 1 more than the kind of the garment that is seen."""
        shown = (self.kinds[:, None, None] + 1) * self.masks
        return np.asarray(shown.sum(0), dtype=np.int64)


def compose(
    garments: Sequence[GarmentPicture],
    photograph: UInt8[np.ndarray, "photograph_height photograph_width 3"],
    draw: np.random.Generator,
    *,
    height: int,
    width: int,
    scales: tuple[float, float] = SCALES,
) -> Composite:
    """Lay garments on a photograph, the last one uppermost.

    Args:
        garments: to be laid down. One that would hide another or itself too much, wherever it is tried, is left out.
        photograph: of any size.
        draw: decides everything else.
        height: of the image, in pixels.
        width: of the image, in pixels.
        scales: least and largest side of a garment's picture, as a part of the image's shorter side.
    """
    image = _crop(photograph, draw, height, width)
    masks: list[Bool[np.ndarray, "height width"]] = []
    areas: list[float] = []
    kinds: list[int] = []
    for garment in garments:
        colour = draw.uniform(_PALEST, 1.0, 3)
        outline = garment.outline
        for _ in range(_TRIES):
            laid = _lay(draw, height, width, scales)
            mask = covered(outline, laid, height, width)
            area = float(outline.sum()) * (laid.side / len(outline)) ** 2
            left = [below & ~mask for below in masks]
            if all(m.sum() >= LEAST_SEEN * own for m, own in zip([*left, mask], [*areas, area], strict=True)):
                image[mask] = _painted(garment.pixels, laid, mask, colour)
                masks, areas, kinds = [*left, mask], [*areas, area], [*kinds, garment.kind]
                break
    stacked = np.stack(masks) if masks else np.zeros((0, height, width), dtype=bool)
    return Composite(image=image, kinds=np.array(kinds, dtype=np.int64), masks=stacked, boxes=boxes_of(stacked))


def covered(
    outline: Bool[np.ndarray, "side side"], laid: Laid, height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """Return the pixels of an image that a garment covers."""
    top, bottom, left, right = _within(laid, height, width)
    rows, columns = np.arange(top, bottom, dtype=float)[:, None], np.arange(left, right, dtype=float)
    down, across = (np.floor(each).astype(int) for each in laid.back(rows, columns, len(outline)))
    inside = (down >= 0) & (down < len(outline)) & (across >= 0) & (across < len(outline))
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = inside & outline[np.where(inside, down, 0), np.where(inside, across, 0)]
    return mask


def boxes_of(masks: Bool[np.ndarray, "garments height width"]) -> Float[np.ndarray, "garments 4"]:
    """Return the smallest box around each mask: left, top, and the first pixels beyond to the right and below."""
    found = np.zeros((len(masks), 4))
    for box, mask in zip(found, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return found


def _lay(draw: np.random.Generator, height: int, width: int, scales: tuple[float, float]) -> Laid:
    side = min(height, width) * math.exp(draw.uniform(math.log(scales[0]), math.log(scales[1])))
    x, y = (draw.uniform(side / 4, length - side / 4) for length in (width, height))
    return Laid(x=x, y=y, side=side, angle=draw.uniform(-TURNS, TURNS))


def _within(laid: Laid, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the first and the first beyond of the rows and columns that a picture, however turned, can touch."""
    reach = laid.side / math.sqrt(2) + 1
    spans = ((laid.y, height), (laid.x, width))
    (top, bottom), (left, right) = (
        (max(0, math.floor(at - reach)), min(length, math.ceil(at + reach))) for at, length in spans
    )
    return top, bottom, left, right


def _painted(
    pixels: UInt8[np.ndarray, "side side"],
    laid: Laid,
    mask: Bool[np.ndarray, "height width"],
    colour: Float[np.ndarray, " 3"],
) -> UInt8[np.ndarray, "seen 3"]:
    """Return the colours of the pixels that a garment covers: its grey, between the places next to each, in a tint."""
    rows, columns = np.nonzero(mask)
    down, across = laid.back(rows.astype(float), columns.astype(float), len(pixels))
    grey = _between(pixels.astype(float), down - 0.5, across - 0.5)
    bright = _DARKEST + (1 - _DARKEST) * grey / 255
    painted: UInt8[np.ndarray, "seen 3"] = np.rint(255 * bright[:, None] * colour).astype(np.uint8)
    return painted


def _between(
    pixels: Float[np.ndarray, "side side"], down: Float[np.ndarray, " seen"], across: Float[np.ndarray, " seen"]
) -> Float[np.ndarray, " seen"]:
    """Return a picture's values between its places, linear in both directions, the border's beyond it."""
    down, across = (np.clip(each, 0, len(pixels) - 1) for each in (down, across))
    top, left = (np.minimum(np.floor(each).astype(int), len(pixels) - 2) for each in (down, across))
    low, right = down - top, across - left
    upper = pixels[top, left] * (1 - right) + pixels[top, left + 1] * right
    lower = pixels[top + 1, left] * (1 - right) + pixels[top + 1, left + 1] * right
    return np.asarray(upper * (1 - low) + lower * low)


def _crop(
    photograph: UInt8[np.ndarray, "photograph_height photograph_width 3"],
    draw: np.random.Generator,
    height: int,
    width: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a part of a photograph, of the image's shape, brought to its size and perhaps mirrored."""
    rows, columns = photograph.shape[:2]
    scale = min(rows / height, columns / width) * draw.uniform(*_CROPS)
    top, left = draw.uniform(0, rows - scale * height), draw.uniform(0, columns - scale * width)
    box = (left, top, left + scale * width, top + scale * height)
    part = Image.fromarray(photograph).resize((width, height), Image.Resampling.BILINEAR, box=box)
    pixels = np.array(part)
    return pixels[:, ::-1].copy() if draw.uniform() < 1 / 2 else pixels
