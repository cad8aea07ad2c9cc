"""COCO's AP on a folder of its layout: against pycocotools on the files themselves, and torchvision's own detectors."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import annotated_folders as made
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as RegionReference
from torchvision.models.detection import RetinaNet as AnchorReference
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from attnbench.accuracy.dense import coco, detection, evaluation, shown
from attnbench.accuracy.dense.table import ImageScale
from attnbench.errors import DataError
from attnbench.models.dense import DenseTask

pycocotools = pytest.importorskip("pycocotools.coco")

SIZES = [(60, 80), (64, 50), (48, 48)]
THINGS = [
    made.thing(1, 1, (10, 10, 20, 20)),
    made.thing(1, 90, (40, 20, 30, 24)),
    made.thing(2, 18, (5, 8, 30, 40)),
    made.thing(2, 1, (20, 30, 24, 30), crowd=SIZES[1]),
]
AS_IT_IS = ImageScale(shorter=48, longest=999)
ANSWERS = {
    1: [(1, (11, 10, 20, 20), 0.9), (90, (43, 22, 30, 24), 0.8), (1, (0, 40, 12, 12), 0.7)],
    2: [(18, (5, 8, 30, 34), 0.6), (1, (22, 32, 18, 20), 0.95)],  # the latter lies on a crowd
    3: [(44, (4, 4, 12, 12), 0.5)],
}
"""Of each image, categories, boxes as left, top, width, height, and scores."""


class Oracle(nn.Module):
    """Finds in each image what it was told, by the image's shape; masks are the boxes, in pixels."""

    def __init__(self, answers: dict[int, list[tuple[int, tuple[int, ...], float]]], *, masks: bool) -> None:
        super().__init__()
        self.answers, self.masks = answers, masks
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        (image,) = images
        height, width = image.shape[-2:]
        found = self.answers[1 + SIZES.index((height, width))]
        boxes = torch.tensor([[x, y, x + w, y + h] for _, (x, y, w, h), _ in found]).reshape(-1, 4).float()
        first = 1 if self.masks else 0
        labels = torch.tensor([made.CATEGORIES.index(category) + first for category, _, _ in found], dtype=torch.long)
        answer = {"boxes": boxes, "labels": labels, "scores": torch.tensor([score for *_, score in found])}
        if self.masks:
            answer["masks"] = torch.zeros(len(found), 1, height, width)
            for mask, (_, (x, y, w, h), _) in zip(answer["masks"], found, strict=True):
                mask[0, y : y + h, x : x + w] = 0.9
        return [answer]


def by_pycocotools(root: Path, answers: dict[int, Any], *, masks: bool) -> float:
    """What pycocotools says of the folder's own file and of results that are written down by hand."""
    from pycocotools import mask as runs
    from pycocotools.cocoeval import COCOeval

    results = []
    for image, found in answers.items():
        for category, (x, y, w, h), score in found:
            seen = np.zeros(SIZES[image - 1], dtype=np.uint8, order="F")
            seen[y : y + h, x : x + w] = 1
            said = {"segmentation": runs.encode(seen)} if masks else {"bbox": [x, y, w, h]}
            results.append({"image_id": image, "category_id": category, "score": np.float32(score).item(), **said})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = pycocotools.COCO(str(root / "annotations/instances_val2017.json"))
        scored = COCOeval(truth, truth.loadRes(results), "segm" if masks else "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return float(scored.stats[0])


def evaluated(root: Path, model: nn.Module, task: DenseTask = DenseTask.DETECTION, **how: Any) -> shown.HeadScore:
    return detection.evaluate(model, coco.find(str(root)), task=task, **({"scale": AS_IT_IS} | how))


@pytest.mark.parametrize("masks", [False, True])
def test_what_is_found_scores_what_pycocotools_says_of_the_files(tmp_path, masks):
    root = made.coco(tmp_path, SIZES, THINGS)
    found = evaluated(root, Oracle(ANSWERS, masks=masks), DenseTask.INSTANCE if masks else DenseTask.DETECTION)
    expected = {"coco_ap_box": by_pycocotools(root, ANSWERS, masks=False)}
    if masks:
        expected["coco_ap_mask"] = by_pycocotools(root, ANSWERS, masks=True)
    assert found.metrics == pytest.approx(expected, abs=1e-12)
    assert all(0.3 < value < 0.95 for value in expected.values())
    assert found.remark == "of 3 images, not the 5,000 of COCO's val2017"


def test_what_lies_on_a_crowd_is_neither_right_nor_wrong(tmp_path):
    right = {1: [(1, (10, 10, 20, 20), 0.5), (90, (40, 20, 30, 24), 0.5)], 2: [(18, (5, 8, 30, 40), 0.5)], 3: []}
    on_it = right | {2: [*right[2], (1, (21, 31, 20, 25), 0.9)]}
    beside = right | {2: [*right[2], (1, (0, 0, 20, 25), 0.9)]}
    root = made.coco(tmp_path, SIZES, THINGS)
    scores = [evaluated(root, Oracle(each, masks=False)).metrics["coco_ap_box"] for each in (right, on_it, beside)]
    assert scores[:2] == pytest.approx([1.0, 1.0])
    assert scores[2] < 0.99


def test_nothing_found_scores_zero_and_nothing_annotated_is_an_error(tmp_path):
    nothing = Oracle({1: [], 2: [], 3: []}, masks=False)
    assert evaluated(made.coco(tmp_path / "a", SIZES, THINGS), nothing).metrics == {"coco_ap_box": 0.0}
    with pytest.raises(DataError, match="no image with a thing on it is left to evaluate"):
        evaluated(made.coco(tmp_path / "b", SIZES, THINGS[3:]), nothing)


def test_what_does_not_do_is_named_and_costs_nothing_else(tmp_path):
    sizes = [SIZES[0]] * 7
    wrong = [
        made.thing(2, 12, (10, 10, 20, 20)),
        made.thing(3, 1, (10, 10, 20, 20)) | {"segmentation": {"size": [60, 80], "counts": [10, 20]}},
        made.thing(4, 1, (10, 10, 20, 20)) | {"bbox": [10, float("inf"), 20, 20]},
        made.thing(99, 1, (10, 10, 20, 20)),
    ]
    root = made.coco(tmp_path, sizes, [THINGS[0], *wrong])
    (root / "val2017" / f"{5:012}.jpg").write_bytes(b"no image")
    (root / "val2017" / f"{6:012}.jpg").unlink()
    (root / "val2017" / f"{7:012}.jpg").write_bytes(
        (made.coco(tmp_path / "o", [(30, 30)], THINGS) / "val2017" / f"{1:012}.jpg").read_bytes()
    )
    found = evaluated(root, Oracle({1: [(1, (10, 10, 20, 20), 0.9)]}, masks=False))
    assert found.metrics == pytest.approx({"coco_ap_box": 1.0})
    for said in (
        "of 1 image, not the 5,000",
        "without 1 annotations of image 99, which are of no image",
        "000000000002.jpg: annotation 2 is of category 12, which COCO has not",
        "000000000003.jpg: annotation 3 has no segmentation that can be read",
        "000000000004.jpg: annotation 4 has no bbox of left, top, width and height within its image",
        "000000000007.jpg is 30x30 pixels, its entry says 60x80; fetch both again",
        "without 2 images that cannot be read: ",
    ):
        assert said in found.remark


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"categories": [{"id": 1}]}, "has 1 categories, which are not the 80 of COCO's"),
        ({"annotations": {}}, "has no list of annotations"),
        ({"images": [{"id": "1"}]}, "no image has a number, a file name, a height and a width"),
        ({"images": [{"id": 1, "file_name": "../../secret.jpg", "height": 4, "width": 4}]}, "no image has a number"),
    ],
)
def test_annotations_that_are_not_cocos_are_refused(tmp_path, changes, said):
    root = made.coco(tmp_path, SIZES, THINGS, **changes)
    with pytest.raises(DataError, match=said):
        coco.find(str(root))


def test_a_folder_that_is_laid_out_otherwise_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no folder ''; give coco:PATH with val2017 and annotations/instances_val2017"):
        coco.find("")
    with pytest.raises(DataError, match=r"has no annotations/instances_val2017\.json; give coco:PATH"):
        coco.find(str(tmp_path))
    place = made.coco(tmp_path / "c", SIZES, THINGS) / coco.ANNOTATIONS
    place.write_text(json.dumps({"images": []})[:-3])
    with pytest.raises(DataError, match=r"cannot be read: .*; fetch it again"):
        coco.find(str(tmp_path / "c"))


@pytest.mark.parametrize(
    ("mask", "fits"),
    [
        ([[1, 1, 5, 1, 5, 5]], True),
        ([[1, 1, 5, 5]], True),
        ([[1, 1, 5, 5], [1, 1, 5, 1, 5, 5]], False),
        ([[1, 1, 5, 1, 5]], False),
        ([[1, 1, 5, 1, 5, 1e12]], False),
        ([[1, 1, 5, 1, 5, True]], False),
        ([], False),
        ({"size": [6, 8], "counts": [40, 8]}, True),
        ({"size": [6, 8], "counts": [40, 9]}, False),
        ({"size": [6, 8], "counts": [50, -2]}, False),
        ({"size": [8, 6], "counts": [40, 8]}, False),
        ({"size": [6, 8], "counts": "abc"}, False),
        (None, False),
    ],
)
def test_masks_are_looked_at_before_pycocotools_reads_them(mask, fits):
    one = made.thing(1, 1, (1, 1, 2, 2)) | {"id": 1, "segmentation": mask}
    assert (coco._wrong(one, 6, 8, set()) == "") is fits


def reference(task: DenseTask) -> nn.Module:
    """torchvision's own detector on its own ResNet-18, as published but for the classes, with the papers' limits."""
    torch.manual_seed(5)
    sizes = (32, 64, 128, 256, 512)
    if task is DenseTask.DETECTION:
        body = resnet_fpn_backbone(
            backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(512, 256)
        )
        thirds = tuple((size, round(size * 2 ** (1 / 3)), round(size * 2 ** (2 / 3))) for size in sizes)
        anchors = AnchorGenerator(thirds, ((0.5, 1.0, 2.0),) * 5)
        model = AnchorReference(body, 80, anchor_generator=anchors, detections_per_img=100)
        nn.init.normal_(model.head.classification_head.cls_logits.weight, std=0.1)
        nn.init.constant_(model.head.classification_head.cls_logits.bias, -2.0)
    else:
        body = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        anchors = AnchorGenerator(tuple((size,) for size in sizes), ((0.5, 1.0, 2.0),) * 5)
        pools = [MultiScaleRoIAlign(["0", "1", "2", "3"], side, 2) for side in (7, 14)]
        model = RegionReference(
            body, 81, rpn_anchor_generator=anchors, box_roi_pool=pools[0], mask_roi_pool=pools[1], box_score_thresh=0.0
        )
        nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.3)
    model.transform = detection.AsPapersResize(ImageScale(shorter=64, longest=96), 32)
    return model.eval()


@pytest.mark.parametrize("task", [DenseTask.DETECTION, DenseTask.INSTANCE])
def test_weights_of_torchvisions_own_detectors_find_what_these_do(tmp_path, task):
    theirs = reference(task)
    torch.save({"model": theirs.state_dict()}, tmp_path / "w.pth")
    network, _ = evaluation.build(tmp_path / "w.pth", task, "resnet18", {}, height=64, width=64)
    ours = detection.detector(network, scale=ImageScale(shorter=64, longest=96), divisor=32).eval()
    if task is DenseTask.INSTANCE:
        ours.roi_heads.score_thresh = 0.0
    image = torch.tensor(made.picture(0, 90, 120)).permute(2, 0, 1) / 255
    with torch.no_grad():
        (expected,), (found,) = theirs([image]), ours([image])
    assert len(expected["boxes"]) > 20
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert found["boxes"].max() > 96  # in the pixels of the image as it came


def test_images_are_brought_to_the_papers_size_and_padded():
    assert ImageScale(shorter=800, longest=1333).size(427, 640) == (800, 1199)
    transform = detection.AsPapersResize(ImageScale(shorter=80, longest=133), 32)
    grey = torch.full((3, 60, 90), 0.5)
    shown_images, _ = transform([grey])
    assert shown_images.image_sizes == [(80, 120)]
    assert tuple(shown_images.tensors.shape) == (1, 3, 96, 128)
    expected = (0.5 - torch.tensor(shown.MEAN)) / torch.tensor(shown.DEVIATION)
    torch.testing.assert_close(shown_images.tensors[0, :, 40, 60], expected)
    assert not shown_images.tensors[0, :, 80:].any()
