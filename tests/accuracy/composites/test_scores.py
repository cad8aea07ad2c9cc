"""Scores of composites, held to hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from attnbench.accuracy.composites.scene import Composite, boxes_of
from attnbench.accuracy.composites.scores import Said, average_precision, confusion, encoded, mean_iou

pytest.importorskip("pycocotools")


def square(top: int, left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((40, 40), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def composite(kinds: list[int], *masks: np.ndarray) -> Composite:
    stacked = np.stack(masks)
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    return Composite(image=image, kinds=np.array(kinds), masks=stacked, boxes=boxes_of(stacked))


def said(kinds: list[int], *masks: np.ndarray, scores: list[float] | None = None) -> Said:
    stacked = np.stack(masks)
    surest = np.array(scores or [0.9] * len(kinds))
    return Said(boxes=boxes_of(stacked), kinds=np.array(kinds), scores=surest, masks=encoded(stacked))


TWO = composite([3, 7], square(2, 2), square(20, 20))


def both(*answers: Said, of: tuple[Composite, ...] = (TWO,)) -> list[float]:
    return [average_precision(of, answers, masks=masks) for masks in (False, True)]


def test_what_is_right_scores_one():
    assert both(said([3, 7], square(2, 2), square(20, 20))) == pytest.approx([1.0, 1.0])


def test_what_is_shifted_counts_up_to_its_overlap():
    """Two pixels of ten to the right: 80 of 120 overlap, two thirds, which is enough for 0.5, 0.55, 0.6 and 0.65."""
    assert both(said([3, 7], square(2, 4), square(20, 22))) == pytest.approx([0.4, 0.4])


def test_one_of_two_of_a_kind_found_has_half_the_recall():
    """Precision is 1 at the 51 recalls from 0 to 0.5, of 101."""
    pair = composite([3, 3], square(2, 2), square(20, 20))
    assert both(said([3], square(2, 2)), of=(pair,)) == pytest.approx([51 / 101, 51 / 101])


def test_a_false_box_that_is_surer_halves_precision_and_one_that_is_less_sure_costs_nothing():
    one = composite([3], square(2, 2))
    surer, less = (said([3, 3], square(25, 25), square(2, 2), scores=[false, 0.5]) for false in (0.9, 0.1))
    assert both(surer, of=(one,)) == pytest.approx([0.5, 0.5])
    assert both(less, of=(one,)) == pytest.approx([1.0, 1.0])


def test_another_kind_or_nothing_scores_zero():
    assert both(said([4, 8], square(2, 2), square(20, 20))) == [0.0, 0.0]
    nothing = Said(boxes=np.zeros((0, 4)), kinds=np.zeros(0, int), scores=np.zeros(0), masks=())
    assert both(nothing) == [0.0, 0.0]


def test_nothing_is_printed(capfd):
    both(said([3, 7], square(2, 2), square(20, 20)))
    assert capfd.readouterr().out == ""


def test_mean_iou_of_what_is_right_and_of_what_is_shifted_is_the_hand_count():
    labels = 4 * square(2, 2).astype(int)[None]
    assert mean_iou(confusion(labels, labels, 11)) == 1.0
    shifted = 4 * square(2, 4).astype(int)[None]
    outside = 1600 - 120
    expected = (outside / (outside + 40) + 80 / 120) / 2
    assert mean_iou(confusion(labels, shifted, 11)) == pytest.approx(expected)


def test_a_class_that_is_said_and_is_nowhere_counts_as_wrong():
    labels, other = 4 * square(2, 2).astype(int), 5 * square(2, 2).astype(int)
    assert mean_iou(confusion(labels, other, 11)) == pytest.approx((1 + 0 + 0) / 3)
