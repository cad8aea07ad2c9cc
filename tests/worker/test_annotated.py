"""A cell that asks for the score of a checkpoint under a head: from files to metrics, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import annotated_folders as made
import numpy as np
import pytest
import torch

from attnbench.accuracy.dense import ade20k, segmentation
from attnbench.accuracy.dense.table import ImageScale
from attnbench.models.dense import DenseTask
from attnbench.models.dense.model import build
from attnbench.plan import preflight
from attnbench.plan.preflight import Wanted
from attnbench.record import Cell, Record, Scope, Status, Task
from attnbench.report.rows import rows
from attnbench.runs.job import Assignment, Settings
from attnbench.worker.ready import Unmeasurable
from attnbench.worker.scoring import measure_accuracy

NETWORK = "test_resnet"


def saved(folder: Path, task: DenseTask) -> Path:
    torch.save(made.weights(task, NETWORK), folder / "w.pth")
    return folder / "w.pth"


def parsed(folder: Path) -> Path:
    scenes = [
        (made.picture(number, 70, 60 + 20 * number), np.full((70, 60 + 20 * number), 1 + number)) for number in (0, 1)
    ]
    return made.ade20k(folder / "ade", scenes)


def cell(folder: Path, task: DenseTask, dataset: str, **how: Any) -> Cell:
    asked = {"network": NETWORK, "options": {"backend": "sdpa"}, "height": 64, "width": 64} | how
    return Cell(
        task=Task.ACCURACY,
        scope=Scope.NETWORK,
        mechanism="",
        head=task.value,
        dataset=dataset,
        checkpoint=str(saved(folder, task)),
        **asked,
    )


def measured(asked: Cell) -> dict[str, Any]:
    phases: list[str] = []
    parts: list[float] = []
    found = measure_accuracy(Assignment(cell=asked), Settings(), phases.append, lambda *_: None, parts.append)
    assert phases == ["loading", "evaluating"]
    assert parts[-1] == 1.0
    return dict(found)


def test_a_cell_scores_what_its_weights_say(tmp_path):
    root = parsed(tmp_path)
    asked = cell(tmp_path, DenseTask.SEGMENTATION, f"ade20k:{root}")
    found = measured(asked)
    model = build(DenseTask.SEGMENTATION, NETWORK, height=64, width=64)
    model.load_state_dict(made.weights(DenseTask.SEGMENTATION, NETWORK))
    direct = segmentation.evaluate(model, ade20k.find(str(root)), scale=ImageScale(shorter=64, longest=256))
    assert found["ade20k_miou"] == direct.metrics["ade20k_miou"]
    assert found["accuracy_kind"] == "evaluated"
    assert str(found["accuracy_remark"]).startswith(
        "with shorter sides of 64 pixels, not the 512 of papers; of 2 images"
    )


@pytest.mark.parametrize(
    ("task", "names"),
    [(DenseTask.DETECTION, {"coco_ap_box"}), (DenseTask.INSTANCE, {"coco_ap_box", "coco_ap_mask"})],
)
def test_boxes_and_masks_are_scored_under_their_heads(tmp_path, task, names):
    pytest.importorskip("pycocotools")
    root = made.coco(tmp_path / "coco", [(60, 80)], [made.thing(1, 1, (10, 10, 20, 20))])
    found = measured(cell(tmp_path, task, f"coco:{root}"))
    assert {name for name in found if name.startswith("coco")} == names
    assert all(0 <= found[name] <= 1 for name in names)


def test_a_network_that_does_not_take_the_images_is_unsupported_with_advice(tmp_path, monkeypatch):
    """Images of 512 x 512 it takes; those of the folder come in another shape."""
    from attnbench.models.dense.features import Features

    whole = Features.forward

    def of_squares(self, images):
        if images.shape[-1] % 32:
            raise ValueError("sides must be multiples of 32")
        return whole(self, images)

    monkeypatch.setattr(Features, "forward", of_squares)
    asked = cell(tmp_path, DenseTask.SEGMENTATION, f"ade20k:{parsed(tmp_path)}")
    said = (
        "images of the data set come as 64x73 pixels: sides must be multiples of 32; "
        "--pad 32 pads images to multiples of 32"
    )
    with pytest.raises(Unmeasurable, match=said) as caught:
        measured(asked)
    assert caught.value.status is Status.UNSUPPORTED
    assert measured(replace(asked, size_divisor=32))["ade20k_miou"] >= 0


def test_a_score_stands_beside_the_costs_of_its_head_size_and_padding_alone(tmp_path):
    asked = cell(tmp_path, DenseTask.SEGMENTATION, "ade20k:data", size_divisor=32)
    score = Record(cell=asked, status=Status.OK, metrics={"ade20k_miou": 0.4})
    cost = replace(asked, task=Task.COST, dataset="", checkpoint="")
    cells = [cost, replace(cost, size_divisor=0), replace(cost, head=""), replace(cost, height=128)]
    frame = rows([score, *(Record(cell=each, status=Status.OK, metrics={"macs": 5}) for each in cells)])
    assert list(frame["ade20k_miou"].fillna(-1)) == [0.4, -1, -1, -1]


def looked_at(path: Path, dataset: str, *, task: str = "segmentation") -> preflight.Preflight:
    wanted = Wanted(spec=NETWORK, network=True, checkpoint=str(path), head=task)
    return preflight.take([wanted], dataset=dataset, sizes=[(64, 64)])


def test_what_is_wrong_is_said_before_anything_is_measured(tmp_path):
    root = parsed(tmp_path)
    path = saved(tmp_path, DenseTask.SEGMENTATION)
    fine = looked_at(path, f"ade20k:{root}")
    assert (fine.mistakes, fine.findings[0].mistakes, len(fine.findings[0].checkpoint_sha256)) == ((), (), 12)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "alone.pth")
    unfit = looked_at(tmp_path / "alone.pth", f"ade20k:{root / 'images'}")
    (mistake,) = unfit.mistakes
    assert mistake.startswith(f"--accuracy ade20k:{root / 'images'}: {root / 'images'} has no folder images/validation")
    assert (
        "called as parameters of a network with a Semantic FPN are: conv1.weight; give" in unfit.findings[0].mistakes[0]
    )
