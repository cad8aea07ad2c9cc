"""Composites: what is seen of each garment is what the definition says, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_garments import garment, supply

from attnbench.accuracy.composites import scene
from attnbench.accuracy.composites.scene import GarmentPicture, Laid, compose

PHOTOGRAPH = np.random.default_rng(3).integers(0, 256, (150, 90, 3), dtype=np.uint8)


def covers(picture: np.ndarray, laid: Laid, row: int, column: int) -> bool:
    """The slow, obvious way: the pixel's centre, moved, turned back and brought to the picture's scale."""
    x, y = column + 0.5 - laid.x, row + 0.5 - laid.y
    right = x * math.cos(laid.angle) + y * math.sin(laid.angle)
    down = y * math.cos(laid.angle) - x * math.sin(laid.angle)
    across, along = (math.floor(each * (28 / laid.side) + 14) for each in (right, down))
    return 0 <= across < 28 and 0 <= along < 28 and bool(GarmentPicture(pixels=picture, kind=0).outline[along, across])


def laid_as(monkeypatch: pytest.MonkeyPatch, *places: Laid) -> None:
    left = list(places)
    monkeypatch.setattr(scene, "_lay", lambda *_: left.pop(0))


def drawn(*kinds: int, height: int = 40, width: int = 50, seed: int = 0) -> scene.Composite:
    pictures = [GarmentPicture(pixels=garment(kind), kind=kind) for kind in kinds]
    return compose(pictures, PHOTOGRAPH, np.random.default_rng(seed), height=height, width=width)


def test_masks_and_boxes_are_those_of_the_definition_with_the_last_one_uppermost(monkeypatch):
    places = [
        Laid(x=15.3, y=17.9, side=30.5, angle=0.4),
        Laid(x=24.0, y=24.5, side=22.0, angle=-0.7),
        Laid(x=47.5, y=5.1, side=19.7, angle=0.0),  # half of it beyond the border
    ]
    laid_as(monkeypatch, *places)
    found = drawn(4, 7, 2)
    uppermost = np.full((40, 50), -1)
    for row in range(40):
        for column in range(50):
            for number, (kind, laid) in enumerate(zip((4, 7, 2), places, strict=True)):
                if covers(garment(kind), laid, row, column):
                    uppermost[row, column] = number
    assert found.kinds.tolist() == [4, 7, 2]
    for number, (mask, box) in enumerate(zip(found.masks, found.boxes, strict=True)):
        seen = [(row, column) for row in range(40) for column in range(50) if uppermost[row, column] == number]
        assert sorted(map(tuple, np.argwhere(mask).tolist())) == seen
        rows, columns = zip(*seen, strict=True)
        assert box.tolist() == [min(columns), min(rows), max(columns) + 1, max(rows) + 1]
    assert (found.labels == np.choose(uppermost + 1, [0, 5, 8, 3])).all()
    whole = sum(covers(garment(4), places[0], row, column) for row in range(40) for column in range(50))
    assert found.masks[0].sum() < whole, "nothing is occluded, so that the test shows little"


def test_a_hole_that_a_garment_encloses_is_the_garment_and_a_haze_is_not():
    picture = garment(3)
    assert picture[13, 13] == 0
    picture[0, 0] = scene.BLACK
    outline = GarmentPicture(pixels=picture, kind=3).outline
    assert outline[13, 13]
    assert not outline[0, 0]


def test_what_no_garment_covers_is_the_photograph_and_the_rest_is_in_one_tint(monkeypatch):
    place = Laid(x=20.0, y=20.0, side=28.0, angle=0.0)
    laid_as(monkeypatch, place)
    with_one, bare = drawn(5), drawn()
    mask = with_one.masks[0]
    assert (with_one.image[~mask] == bare.image[~mask]).all()
    middle = with_one.image[17:19, 16:20].reshape(-1, 3)  # away from the border and from the hole
    assert mask[17:19, 16:20].all()
    assert len(np.unique(middle, axis=0)) == 1


def test_a_garment_that_would_hide_another_is_tried_elsewhere_and_left_out_in_the_end(monkeypatch):
    here, there = Laid(x=12.0, y=12.0, side=20.0, angle=0.0), Laid(x=36.0, y=28.0, side=20.0, angle=0.0)
    laid_as(monkeypatch, here, here, there)
    assert drawn(4, 4).boxes[:, 0].tolist() == sorted(drawn_box[0] for drawn_box in drawn_at(monkeypatch, here, there))
    laid_as(monkeypatch, here, *[here] * 20)
    assert drawn(4, 4).kinds.tolist() == [4]


def drawn_at(monkeypatch: pytest.MonkeyPatch, *places: Laid) -> np.ndarray:
    laid_as(monkeypatch, *places)
    return drawn(4, 4).boxes


def test_one_to_eight_garments_of_which_enough_is_seen_and_no_pixel_of_two():
    found = [supply(seed=0).composite(0, number, height=64, width=96) for number in range(60)]
    counts = {len(each.kinds) for each in found}
    assert counts <= {*range(1, 9)}
    assert len(counts) > 5
    assert all(each.masks.sum(0).max() == 1 and each.image.shape == (64, 96, 3) for each in found)
    smallest = min(mask.sum() for each in found for mask in each.masks)
    assert smallest >= 0.3 * garment_area(side=64 / 6) * 0.9
    sides = [box[2] - box[0] for each in found for box in each.boxes]
    assert max(sides) > 3 * min(sides)


def garment_area(side: float) -> float:
    least = min(GarmentPicture(pixels=garment(kind), kind=kind).outline.sum() for kind in range(10))
    return float(least) * (side / 28) ** 2


def test_a_seed_gives_the_same_composites_always_and_another_seed_or_number_others():
    first, again, other, next_one = (
        supply(seed=0).composite(seed, number, height=64, width=64)
        for seed, number in ((5, 9), (5, 9), (6, 9), (5, 10))
    )
    assert (first.image == again.image).all()
    assert (first.masks == again.masks).all()
    for each in (other, next_one):
        assert (first.image != each.image).any()
