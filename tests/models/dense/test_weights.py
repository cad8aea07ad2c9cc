"""Checkpoints of a network and its head: under whose names they load, and what is said of one that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from annotated_folders import weights as made
from checkpoint_files import Touch
from torch import Tensor, nn

from attnbench.accuracy.dense import evaluation
from attnbench.errors import DataError
from attnbench.models.dense import DenseTask, weights
from attnbench.models.dense.features import Features
from attnbench.models.dense.model import build
from attnbench.models.dense.names import plain

SEGMENTATION, DETECTION, INSTANCE = DenseTask.SEGMENTATION, DenseTask.DETECTION, DenseTask.INSTANCE
NETWORK = "test_resnet"


def loaded(path: Path, task: DenseTask, network: str = NETWORK) -> nn.Module:
    return evaluation.build(path, task, network, {}, height=64, width=64)[0].eval()


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": tensors, "meta": {"epoch": 3}}, path)
    return path


def refusal(path: Path, task: DenseTask) -> str:
    with pytest.raises(DataError) as caught:
        loaded(path, task)
    return str(caught.value)


@pytest.mark.parametrize("task", list(DenseTask))
def test_what_a_model_of_ours_saved_is_that_model(tmp_path, task):
    state = made(task, NETWORK)
    ours = build(task, NETWORK, height=64, width=64)
    ours.load_state_dict(state)
    found = loaded(saved(tmp_path / "w.pth", state), task)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, again = ours.eval()(images), found(images)
    pairs = zip(*((expected,), (again,)) if isinstance(expected, Tensor) else (expected, again), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_network_alone_is_told_from_a_network_with_a_head(tmp_path):
    state = {name.removeprefix("backbone.body.network."): each for name, each in made(SEGMENTATION, NETWORK).items()}
    alone = {name: each for name, each in state.items() if not name.startswith(("backbone", "branches", "classifier"))}
    said = refusal(saved(tmp_path / "w.pth", alone), SEGMENTATION)
    begins = f"{tmp_path / 'w.pth'}: nothing in it is called as parameters of a network with a Semantic FPN are: conv1."
    assert said.startswith(begins)
    assert said.endswith("or evaluate the network as a classifier, --accuracy folder:PATH")


def test_what_lacks_and_what_is_strange_is_named_with_the_classes(tmp_path):
    state = made(SEGMENTATION, NETWORK, classes=19)
    del state["branches.2.1.0.weight"]
    state["branches.4.0.0.weight"] = torch.zeros(1)
    lines = refusal(saved(tmp_path / "w.pth", state), SEGMENTATION).splitlines()
    assert lines[0] == f"{tmp_path / 'w.pth'}: the checkpoint does not fit the head"
    assert "  classifier.weight is 19x128x1x1, the head's 150x128x1x1" in lines
    assert "  branches.2.1.0.weight 128x128x3x3" in lines
    assert "  branches.4.0.0.weight 1" in lines
    assert lines[-1] == "its head is of 19 classes; 150 are evaluated"


@pytest.mark.parametrize(("task", "classes"), [(DETECTION, 91), (INSTANCE, 90)])
def test_heads_of_all_numbers_of_coco_are_told_by_their_classes(tmp_path, task, classes):
    said = refusal(saved(tmp_path / "w.pth", made(task, NETWORK, classes=classes)), task)
    assert said.endswith(f"its head is of {classes} classes; 80 are evaluated")


def test_another_network_and_another_head_are_said_to_be_that(tmp_path):
    state = made(DETECTION, NETWORK)
    path = saved(tmp_path / "w.pth", state)
    with pytest.raises(DataError, match="the checkpoint does not fit the network"):
        loaded(path, DETECTION, "resnet10t")
    said = refusal(path, SEGMENTATION)
    assert "the checkpoint does not fit the head" in said
    assert "  head.classification_head.conv.3.0.weight 256x256x3x3" in said


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    state = made(DETECTION, NETWORK)
    state["head.regression_head.bbox_reg.bias"][3] = float("nan")
    assert "head.regression_head.bbox_reg.bias is infinite or not numbers" in refusal(
        saved(tmp_path / "w.pth", state), DETECTION
    )


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    torch.save({"state_dict": made(DETECTION, NETWORK), "hook": Touch(tmp_path / "ran")}, tmp_path / "w.pth")
    assert "holds pickled code or objects, which are never loaded" in refusal(tmp_path / "w.pth", DETECTION)
    assert not (tmp_path / "ran").exists()


class Conv(nn.Module):
    """A convolution and perhaps a norm with its activation, by the names that OpenMMLab gives them."""

    def __init__(self, taken: int, given: int, side: int, *, norm: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(taken, given, side, padding=side // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(given) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if self.bn is None else self.bn(self.conv(x)).relu()


class OfMmsegmentation(nn.Module):
    """Semantic FPN as MMSegmentation computes it: each branch doubles its map after each of its convolutions."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.backbone = Features(NETWORK, height=64, width=64).network
        self.neck = nn.ModuleDict(
            {
                "lateral_convs": nn.ModuleList(Conv(each, 256, 1) for each in channels),
                "fpn_convs": nn.ModuleList(Conv(256, 256, 3) for _ in channels),
            }
        )
        heads = []
        for level in range(4):
            layers: list[nn.Module] = []
            for step in range(max(1, level)):
                layers.append(Conv(128 if step else 256, 128, 3, norm=True))
                layers += [nn.Upsample(scale_factor=2, mode="bilinear")] if level else []
            heads.append(nn.Sequential(*layers))
        self.decode_head = nn.ModuleDict({"scale_heads": nn.ModuleList(heads), "conv_seg": nn.Conv2d(128, 150, 1)})
        self.auxiliary_head = nn.ModuleDict({"conv_seg": nn.Conv2d(8, 150, 1)})

    def forward(self, images: Tensor, maps: list[Tensor]) -> Tensor:
        x = [conv(each) for conv, each in zip(self.neck["lateral_convs"], maps, strict=True)]
        for level in (2, 1, 0):
            x[level] = x[level] + F.interpolate(x[level + 1], size=x[level].shape[2:], mode="nearest")
        out = [conv(each) for conv, each in zip(self.neck["fpn_convs"], x, strict=True)]
        scaled = [head(each) for head, each in zip(self.decode_head["scale_heads"], out, strict=True)]
        return self.decode_head["conv_seg"](sum(scaled))


def test_mmsegmentations_semantic_fpn_says_the_same_here(tmp_path):
    torch.manual_seed(1)
    features = Features(NETWORK, height=64, width=64).eval()
    theirs = OfMmsegmentation(features.channels).eval()
    for each in theirs.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.running_mean, -0.2, 0.2)
            nn.init.uniform_(each.running_var, 0.5, 2)
            nn.init.uniform_(each.weight, 0.5, 2)
    features.network.load_state_dict(theirs.backbone.state_dict())
    path = saved(tmp_path / "w.pth", theirs.state_dict())
    ours, remark = evaluation.build(path, SEGMENTATION, NETWORK, {}, height=64, width=64)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs(images, features(images)), rtol=1e-4, atol=1e-4)
    assert remark == "with batch norms in the head, as its checkpoint has"


def test_mmdetections_heads_compute_something_else_and_are_refused(tmp_path):
    state = {"backbone.conv1.weight": torch.zeros(1), "neck.fpn_convs.0.conv.weight": torch.zeros(1)}
    said = refusal(saved(tmp_path / "w.pth", state), DETECTION)
    assert "it is named as OpenMMLab's; MMDetection's RetinaNet computes something else than the one here" in said


@pytest.mark.parametrize("network", ["convnext_atto", "twins_svt_small"])
def test_networks_are_found_under_the_names_that_they_have_as_classifiers(tmp_path, network):
    features = Features(network, height=64, width=64)
    as_classifier = {f"backbone.{plain(name)}": each + 1 for name, each in features.network.state_dict().items()}
    held = weights.load(saved(tmp_path / "w.pth", {**as_classifier, "neck.x": torch.zeros(1)}), SEGMENTATION)
    held.load_network(features)
    for name, each in features.network.state_dict().items():
        assert torch.equal(each, as_classifier[f"backbone.{plain(name)}"])
