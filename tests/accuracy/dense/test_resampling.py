"""Intervals of scores over images: draws against the images that they are, and how often intervals are right."""

from __future__ import annotations

import numpy as np
import pytest

from attnbench.accuracy.composites.scores import by_coco, by_coco_in_draws, mean_iou
from attnbench.accuracy.dense import resampling, segmentation


def images_of_two_classes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Pixels by what they are and what is said of them, of images that are easier or harder."""
    hard = rng.beta(2, 5, size=count)
    sizes = rng.integers(50, 200, size=(count, 2))
    wrong = rng.binomial(sizes, hard[:, None])
    return np.stack([[[a - x, x], [y, b - y]] for (a, b), (x, y) in zip(sizes, wrong, strict=True)])


def sums(counts: np.ndarray) -> list[np.ndarray]:
    return [np.stack([np.diag(each), each.sum(1), each.sum(0)]) for each in counts]


def test_draws_are_of_as_many_images_and_the_same_again() -> None:
    drawn = resampling.draws(12, 50)
    assert drawn.shape == (50, 12)
    assert (drawn.sum(1) == 12).all()
    assert (drawn == resampling.draws(12, 50)).all()
    assert len({tuple(each) for each in drawn}) == 50


def test_the_mean_iou_of_a_draw_is_that_of_its_images() -> None:
    counts = images_of_two_classes(np.random.default_rng(1), 12)
    found = segmentation.drawn_scores(sums(counts))
    drawn = resampling.draws(12, 1000)
    expected = [mean_iou((counts * draw[:, None, None]).sum(0)) for draw in drawn]
    assert found == pytest.approx(expected, abs=1e-12)


def test_classes_that_a_draw_lacks_are_left_out_of_its_mean() -> None:
    counts = np.zeros((10, 3, 3), dtype=np.int64)
    counts[:, 0, 0] = 4
    counts[0, 2, 2] = 3  # a class of one image alone, always right
    counts[:, 0, 0] -= 1
    counts[:, 0, 1] += 1
    for score, draw in zip(segmentation.drawn_scores(sums(counts)), resampling.draws(10, 1000), strict=True):
        assert score == pytest.approx((0.75 + 0 + 1) / 3 if draw[0] else (0.75 + 0) / 2)


def test_a_handful_of_images_has_no_interval() -> None:
    counts = images_of_two_classes(np.random.default_rng(2), resampling.FEWEST - 1)
    assert resampling.ends("ade20k_miou", segmentation.drawn_scores(sums(counts))) == {}


def test_intervals_hold_the_score_of_all_images_there_could_be() -> None:
    rng, held = np.random.default_rng(3), 0
    truth = mean_iou(images_of_two_classes(rng, 20_000).sum(0))
    for _ in range(200):
        found = resampling.ends("miou", segmentation.drawn_scores(sums(images_of_two_classes(rng, 60))))
        held += found["miou_ci_low"] <= truth <= found["miou_ci_high"]
    assert 0.90 <= held / 200 <= 0.98


BOXES = {1: [(1, (10, 10, 20, 20))], 2: [(2, (5, 8, 30, 40)), (1, (20, 30, 24, 30))], 3: [(2, (0, 0, 9, 9))]}
FOUND = {
    1: [(1, (11, 10, 20, 20), 0.9), (2, (40, 40, 12, 12), 0.7)],
    2: [(2, (5, 8, 30, 34), 0.6), (1, (22, 32, 18, 20), 0.95)],
    3: [(2, (0, 1, 9, 9), 0.65), (1, (30, 30, 9, 9), 0.5)],
}
"""Of images by their numbers: kinds, boxes as left, top, width and height, and how sure."""


def coco_of(draw: tuple[int, ...]) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Return annotations and results of images that are there as often as is said, each under a number of its own."""
    shown = [number for number, times in enumerate(draw, start=1) for _ in range(times)]
    annotations = [
        {"image_id": at, "category_id": kind, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
        for at, number in enumerate(shown, start=1)
        for kind, box in BOXES[number]
    ]
    return {
        "info": {},
        "images": [{"id": at, "height": 80, "width": 80} for at, _ in enumerate(shown, start=1)],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": [each | {"id": at} for at, each in enumerate(annotations, start=1)],
    }, [
        {"image_id": at, "category_id": kind, "bbox": list(box), "score": score}
        for at, number in enumerate(shown, start=1)
        for kind, box, score in FOUND[number]
    ]


def test_the_ap_of_a_draw_is_that_of_its_images() -> None:
    pytest.importorskip("pycocotools.coco")
    draws = [(1, 1, 1), (2, 0, 1), (0, 3, 0), (0, 1, 2), (3, 0, 0)]
    whole, of_draws = by_coco_in_draws(*coco_of((1, 1, 1)), masks=False, draws=map(np.array, draws))
    assert whole == of_draws[0]
    assert of_draws == pytest.approx([by_coco(*coco_of(draw), masks=False) for draw in draws], abs=1e-12)
    assert len(set(of_draws)) > 3
