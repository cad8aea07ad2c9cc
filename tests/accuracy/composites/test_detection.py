"""Detectors on composites: what they are given, what is read of them, and that they learn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from made_garments import composites
from torch import nn

from attnbench.accuracy.composites import bodies, learning
from attnbench.accuracy.composites.batches import CompositeData, Supply
from attnbench.accuracy.composites.detection import TrainedDetector, TrainedRetinaNet
from attnbench.accuracy.composites.instance import TrainedMaskRCNN
from attnbench.accuracy.composites.learning import learn
from attnbench.mechanisms.mhsa import MHSA
from attnbench.models.pyramid import Pyramid

pytest.importorskip("pycocotools")

BOTH = pytest.mark.parametrize("head", [TrainedRetinaNet, TrainedMaskRCNN])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bodies, "PYRAMID", Pyramid(dims=(16, 16, 32, 32), depths=(1, 1, 1, 1), heads=(1, 1, 2, 2)))
    monkeypatch.setattr(learning, "STEPS", 1)


def model_under(head: type[TrainedDetector], *, side: int = 64) -> TrainedDetector:
    model = bodies.under(head, bodies.of_mechanism(MHSA, height=side, width=side), seed=0)
    assert isinstance(model, TrainedDetector)
    return model


class Prophet(nn.Module):
    """Finds in each image of a batch what is there, as it is told in training, moved to the right."""

    def __init__(self, targets: list[dict[str, torch.Tensor]], moved: int) -> None:
        super().__init__()
        self.targets, self.moved, self.weight = targets, moved, nn.Parameter(torch.zeros(1))

    def forward(self, images):
        aside = torch.tensor([self.moved, 0, self.moved, 0])
        return [
            {
                "boxes": each["boxes"] + aside,
                "labels": each["labels"],
                "scores": torch.ones(len(each["labels"])),
                "masks": each.get("masks", torch.zeros(len(each["labels"]), 4, 4)).roll(self.moved, 2)[:, None].float(),
            }
            for each in self.targets
        ]


@BOTH
def test_what_is_told_in_training_is_what_scores_one(head):
    """Kinds, boxes and masks go into torchvision's targets and come back out of its answers as the same."""
    scored = {}
    for moved in (0, 30):
        model = model_under(head)
        for batch in composites().examining():
            targets = [model._target(each, torch.device("cpu")) for each in batch.composites]
            model.detector = Prophet(targets, moved)
            model.examine(batch)
        scored[moved] = model.scores()
    assert set(scored[0]) == ({"ap_box", "ap_mask"} if head is TrainedMaskRCNN else {"ap_box"})
    assert list(scored[0].values()) == pytest.approx([1.0] * len(scored[0]))
    assert max(scored[30].values()) < 0.5


@BOTH
def test_images_reach_the_network_as_they_are_made_in_training_and_after(head):
    model, batch = model_under(head), composites(batch=1).training(0, 0)
    shown: list[torch.Tensor] = []
    model.detector.backbone.register_forward_hook(lambda module, given, found: shown.append(given[0].clone()))
    model.train().loss(batch)
    model.eval().examine(batch)
    assert len(shown) == 2
    assert all(torch.equal(each, batch.images) for each in shown)


@BOTH
def test_every_parameter_learns_and_the_losses_are_numbers(head):
    model = model_under(head).train()
    loss = model.loss(composites().training(0, 1))
    loss.backward()
    assert loss.isfinite()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())


@BOTH
def test_one_seed_gives_one_result(head):
    body, data = bodies.of_mechanism(MHSA, height=64, width=64), composites(batch=1, examined=1)
    first, again = (learn(body, head, data, seeds=[2], epochs=1) for _ in range(2))
    assert first == again
    metrics = first.to_metrics()
    assert metrics["ap_box"] == first.per_seed["ap_box"][0]
    assert metrics["ap_box_ci_low"] is None


@dataclass(frozen=True, kw_only=True)
class TheSame(Supply):
    """One composite, whatever is asked for."""

    def composite(self, seed, index, *, height, width):
        return super().composite(4, 2, height=height, width=width)


def one_image(side: int) -> CompositeData:
    data = composites(side=side, batch=1, examined=1)
    same = TheSame(garments=data.train.garments, kinds=data.train.kinds, photographs=data.train.photographs)
    return replace(data, train=same, held_out=same)


@pytest.mark.slow
@BOTH
def test_one_image_is_learned_by_heart(head, monkeypatch):
    monkeypatch.setattr(learning, "STEPS", 80)
    body = bodies.of_mechanism(MHSA, height=64, width=64)
    found = learn(body, head, one_image(64), seeds=[0], epochs=1)
    assert all(values[0] > 0.3 for values in found.per_seed.values())
