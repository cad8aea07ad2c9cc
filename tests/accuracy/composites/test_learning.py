"""Training under heads on composites: one start and one budget for all, and scores of what was learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_garments import composites
from torch import nn

from attnbench.accuracy.composites import bodies, heads, learning
from attnbench.accuracy.composites.learning import LearnedHead, learn
from attnbench.accuracy.composites.segmentation import TrainedSemanticFPN
from attnbench.mechanism import Site
from attnbench.mechanisms.mhsa import MHSA
from attnbench.mechanisms.qna import QnA
from attnbench.models.dense import DenseTask
from attnbench.models.pyramid import Pyramid


@pytest.fixture
def small(monkeypatch):
    """A body and a number of steps that take no time."""
    monkeypatch.setattr(learning, "STEPS", 2)
    monkeypatch.setattr(bodies, "PYRAMID", Pyramid(dims=(16, 16, 32, 32), depths=(1, 1, 1, 1), heads=(1, 1, 2, 2)))


class Answer(nn.Module):
    """What says of every pixel what it is told to, at the images' size."""

    def __init__(self, labels: torch.Tensor) -> None:
        super().__init__()
        self.labels, self.classifier = labels, nn.Linear(1, 1)

    def forward(self, images):
        return torch.nn.functional.one_hot(self.labels, 11).permute(0, 3, 1, 2).double()


def test_labels_that_are_said_score_one_and_those_of_others_less(small):
    data = composites()
    model = TrainedSemanticFPN(bodies.of_mechanism(MHSA, height=64, width=64)(0))
    batches = list(data.examining())
    for shift, scored in ((0, 1.0), (4, None)):
        model.counts = model.counts * 0
        for batch in batches:
            model.network = Answer(batch.labels.roll(shift, dims=2))
            model.examine(batch)
        found = model.scores()["miou"]
        by_hand = by_definition([(batch.labels, batch.labels.roll(shift, dims=2)) for batch in batches])
        assert found == pytest.approx(by_hand if scored is None else scored)
    share = max(np.bincount(torch.cat([b.labels.flatten() for b in batches]))) / (4 * 64 * 64)
    classes = len(torch.cat([b.labels.flatten() for b in batches]).unique())
    assert model.blind() == pytest.approx(share / classes)


def by_definition(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    labels, said = (torch.cat([pair[index].flatten() for pair in pairs]) for index in (0, 1))
    each = [
        float(((labels == kind) & (said == kind)).sum()) / float(((labels == kind) | (said == kind)).sum())
        for kind in range(11)
        if ((labels == kind) | (said == kind)).any()
    ]
    return sum(each) / len(each)


def test_one_seed_gives_one_result_and_all_but_the_mechanism_starts_alike(small):
    data = composites()
    for mechanism in (MHSA, QnA):
        body = bodies.of_mechanism(mechanism, height=64, width=64)
        first, again = (learn(body, TrainedSemanticFPN, data, seeds=[3], epochs=1) for _ in range(2))
        assert first == again
    starts = [
        bodies.under(TrainedSemanticFPN, bodies.of_mechanism(mechanism, height=64, width=64), seed=3).state_dict()
        for mechanism in (MHSA, QnA)
    ]
    common = [name for name in starts[0] if ".mechanism." not in name]
    assert len(common) > 50
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in common)


def test_a_network_stands_under_the_same_head(small):
    body = bodies.of_network("resnet18", {"backend": "sdpa"}, height=64, width=64)
    model = bodies.under(TrainedSemanticFPN, body, seed=1)
    mechanism = bodies.under(TrainedSemanticFPN, bodies.of_mechanism(MHSA, height=64, width=64), seed=1)
    for ours, theirs in zip(model.network.branches.parameters(), mechanism.network.branches.parameters(), strict=True):
        assert ours.shape == theirs.shape
    batch = composites().training(0, 0)
    model.loss(batch).backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())


def test_a_seed_that_fails_costs_no_other(small):
    def build(site: Site) -> MHSA:
        if torch.initial_seed() == 1:
            raise RuntimeError("no seed of mine")
        return MHSA(site)

    told: list[float] = []
    body = bodies.of_mechanism(build, height=64, width=64)
    found = learn(body, TrainedSemanticFPN, composites(), seeds=[0, 1, 2], epochs=1, alive=told.append)
    assert len(found.per_seed["miou"]) == 2
    assert found.remarks == ("seed 1 failed: RuntimeError: no seed of mine",)
    metrics = found.to_metrics()
    assert metrics["accuracy_seeds"] == 2
    assert "seed 1 failed: RuntimeError: no seed of mine" in str(metrics["accuracy_remark"])
    with pytest.raises(RuntimeError, match="no seed of mine"):
        learn(body, TrainedSemanticFPN, composites(), seeds=[1], epochs=1)


def test_a_loss_that_is_no_number_ends_its_seed_with_a_line(small, monkeypatch):
    monkeypatch.setattr(TrainedSemanticFPN, "loss", lambda self, batch: self.network.classifier.weight.sum() * np.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan after 0 steps of seed 4"):
        learn(bodies.of_mechanism(MHSA, height=64, width=64), TrainedSemanticFPN, composites(), seeds=[4], epochs=1)


def test_metrics_are_the_mean_over_seeds_with_its_interval():
    found = LearnedHead(epochs=3, per_seed={"miou": (0.2, 0.3, 0.4)}, blind=0.07).to_metrics()
    assert found["miou"] == pytest.approx(0.3)
    assert found["miou_ci_low"] == pytest.approx(0.3 - 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert found["miou_per_seed"] == "0.2 0.3 0.4"
    assert (found["accuracy_kind"], found["accuracy_seeds"], found["accuracy_remark"]) == ("composites", 3, None)


def test_what_is_hardly_told_from_who_sees_nothing_is_said():
    found = LearnedHead(epochs=3, per_seed={"miou": (0.075, 0.07, 0.072)}, blind=0.07).to_metrics()
    assert found["accuracy_remark"] == "hardly told from who sees nothing, 7.0%; give more --epochs"


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_short_training_raises_the_mean_above_that_of_who_sees_nothing(monkeypatch):
    monkeypatch.setattr(learning, "STEPS", 100)
    data = replace(composites(side=64, batch=4), examined=32)
    body = bodies.of_mechanism(QnA, height=64, width=64)
    found = learn(body, heads.HEADS[DenseTask.SEGMENTATION].build, data, seeds=[0], epochs=1)
    (miou,) = found.per_seed["miou"]
    assert miou > 1.2 * found.blind
