"""Checkpoints evaluated on folders of images: against an evaluation written the obvious way, and refused when unfit."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from checkpoint_files import Touch, flax_bytes, nested
from golden_recipe import flax_tensor
from networks import published_shapes, small
from PIL import Image
from torch import nn

from attnbench.accuracy import evaluation
from attnbench.accuracy.classes import number
from attnbench.errors import DataError, UsageError
from attnbench.models import checkpoint
from attnbench.plan import preflight
from attnbench.plan.preflight import Finding, Preflight, Wanted
from attnbench.plan.request import Request
from attnbench.plan.sweep import Sweep, plan
from attnbench.record import Cell, Mode, Record, Scope, Status, Task
from attnbench.report.rows import rows

CLASSES = ("n01440764", "n02102040", "n10")
SIZES = [(48, 40), (90, 61), (64, 64), (33, 70)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An ImageNet-style folder: three classes of four images, of several sizes, one of them grey."""
    draw = np.random.default_rng(0)
    for name in CLASSES:
        folder = tmp_path / "photos" / "val" / name
        folder.mkdir(parents=True)
        for index, size in enumerate(SIZES):
            coarse = Image.fromarray(draw.integers(0, 256, (5, 4, 3), dtype=np.uint8)).resize(size)
            (coarse.convert("L") if index == 3 else coarse).save(folder / f"{index}.png")
    return tmp_path / "photos"


def resnet(*, classes: int = 3) -> nn.Module:
    """A small network whose answers differ from image to image."""
    torch.manual_seed(3)
    network = timm.create_model("resnet10t", num_classes=classes).eval()
    nn.init.normal_(network.fc.weight)
    return network


def saved(path: Path, network: nn.Module) -> Path:
    torch.save({"state_dict": network.state_dict(), "epoch": 7}, path)
    return path


def by_hand(network: nn.Module, folder: Path, side: int) -> float:
    """Top-1 with Pillow alone: the shorter side to side / crop_pct, the middle, the mean and deviation taken off."""
    config = network.pretrained_cfg
    right = []
    for label, of_class in enumerate(sorted(folder.iterdir())):
        for path in of_class.iterdir():
            image = Image.open(path).convert("RGB")
            shorter = math.floor(side / config["crop_pct"])
            scale = shorter / min(image.size)
            image = image.resize(
                [shorter if s == min(image.size) else int(s * scale) for s in image.size], Image.BICUBIC
            )
            left, top = (round((s - side) / 2) for s in image.size)
            pixels = np.asarray(image.crop((left, top, left + side, top + side))) / 255
            x = torch.tensor((pixels - config["mean"]) / config["std"], dtype=torch.float32).permute(2, 0, 1)
            with torch.no_grad():
                right.append(int(network(x[None]).argmax()) == label)
    return sum(right) / len(right)


def evaluated(network: nn.Module, folder: Path, side: int) -> evaluation.Evaluation:
    found = evaluation.find(str(folder))
    numbers = number(found.classes, own=(), asked="", outputs=len(found.classes))
    return evaluation.evaluate(
        network, found, numbers, transform=evaluation.preprocessing(network, height=side, width=side)
    )


# What is measured


@pytest.mark.parametrize("side", [64, 96])
def test_top1_is_that_of_an_evaluation_by_hand(photos: Path, side: int) -> None:
    expected = by_hand(resnet(), photos / "val", side)
    assert 0 < expected < 1
    assert evaluated(resnet(), photos, side).top1 == expected


def test_the_images_may_lie_in_validation_or_val_or_the_folder_itself(photos: Path) -> None:
    in_val, itself = evaluation.find(str(photos)), evaluation.find(str(photos / "val"))
    (photos / "val").rename(photos / "validation")
    in_validation = evaluation.find(str(photos))
    found = in_val, itself, in_validation
    assert [(len(each.samples), each.classes) for each in found] == [(12, CLASSES)] * 3


def test_images_to_train_on_are_not_evaluated_on(photos: Path) -> None:
    (photos / "val").rename(photos / "train")
    with pytest.raises(DataError, match="images to train on"):
        evaluation.find(str(photos))


def test_the_interval_is_wilsons_and_top5_counts_the_five_likeliest(photos: Path) -> None:
    class Fixed(nn.Module):
        """Finds class 6 likeliest, then 5, and so on; class 0 is the seventh."""

        pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # noqa: RUF012

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.arange(7.0).expand(len(x), 7)

    found = evaluated(Fixed(), photos, 32)
    z2, n = 1.959963984540054**2, 12
    assert (found.top1, found.top5) == (0, 4 / 12)  # of classes 0, 1 and 2, the last is the fifth likeliest
    assert found.ci_low == pytest.approx(0, abs=1e-12)
    assert found.ci_high == pytest.approx(z2 / (n + z2))


def test_a_network_is_shown_images_as_its_own_configuration_says(photos: Path) -> None:
    network = nn.Identity()
    network.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "crop_pct": 1.0}
    white = Image.new("RGB", (50, 80), "white")
    assert torch.equal(evaluation.preprocessing(network, height=20, width=30)(white), torch.full((3, 20, 30), 2.0))


def test_an_unreadable_image_is_named_and_not_replaced_by_the_next(photos: Path) -> None:
    damaged = photos / "val" / CLASSES[1] / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    found = evaluated(resnet(), photos, 32)
    assert found.images == 11
    assert f"without 1 image that cannot be read: {damaged}" in found.remark
    for path in photos.glob("val/*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"no image of .*val can be read; without 12 images that cannot be read: .*, \.\.\."
    ):
        evaluated(resnet(), photos, 32)


def test_logits_that_are_no_numbers_are_no_answers(photos: Path) -> None:
    network = resnet()
    nn.init.constant_(network.fc.bias, float("nan"))
    with pytest.raises(FloatingPointError, match="not numbers"):
        evaluated(network, photos, 32)


# Checkpoints


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_network_of_timms_loads_its_state_dict(tmp_path: Path, kind: str) -> None:
    path, given, fresh = tmp_path / f"weights.{kind}", resnet(), timm.create_model("resnet10t", num_classes=3)
    if kind == "pth":
        saved(path, given)
    else:
        safetensors.torch.save_file(given.state_dict(), path)
    checkpoint.load(path, fresh, network="resnet10t")
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in given.state_dict().items())


def test_position_embeddings_are_resampled_for_the_image_size_as_timm_does(tmp_path: Path) -> None:
    options = {"embed_dim": 12, "depth": 1, "num_heads": 1, "num_classes": 3}
    given = timm.create_model("vit_tiny_patch16_224", **options)
    fresh = timm.create_model("vit_tiny_patch16_224", img_size=96, **options)
    checkpoint.load(saved(tmp_path / "weights.pth", given), fresh, network="vit_tiny_patch16_224")
    given.set_input_size(img_size=96)
    torch.testing.assert_close(fresh.pos_embed, given.pos_embed)


def test_a_plugins_network_reads_what_its_authors_wrote(tmp_path: Path) -> None:
    hat_net, fresh = small("hat_net_tiny"), small("hat_net_tiny")
    nn.init.zeros_(fresh.get_classifier().weight)
    checkpoint.load(saved(tmp_path / "weights.pth", hat_net), fresh, network="hat_net_tiny")
    assert torch.equal(fresh.get_classifier().weight, hat_net.get_classifier().weight)

    flax = {name: flax_tensor(name, shape) for name, shape in published_shapes("qna_vit_tiny").items()}
    (tmp_path / "checkpoint_300").write_bytes(flax_bytes(nested(flax)))
    qna = timm.create_model("qna_vit_tiny")
    checkpoint.load(tmp_path / "checkpoint_300", qna, network="qna_vit_tiny")
    expected = timm.create_model("qna_vit_tiny")
    expected.load_state_dict(flax)
    assert all(torch.equal(tensor, qna.state_dict()[name]) for name, tensor in expected.state_dict().items())


def test_the_survey_refuses_what_cannot_be_used_and_runs_no_code(tmp_path: Path, photos: Path) -> None:
    good, other = saved(tmp_path / "good.pth", resnet()), saved(tmp_path / "other.pth", resnet(classes=5))
    (tmp_path / "truncated.pth").write_bytes(good.read_bytes()[:100_000])
    (tmp_path / "foreign.pth").write_text("weights, honestly")
    torch.save({"fc.weight": Touch(tmp_path / "was here")}, tmp_path / "malicious.pth")
    spec, hat_net = "resnet10t:num_classes=3", "hat_net_tiny:num_classes=3"
    damaged = "truncated.pth is damaged", "foreign.pth is", "malicious.pth is damaged", "no checkpoint file at"
    expected = {
        (spec, "good.pth"): None,
        (spec, "other.pth"): "other.pth: the checkpoint does not fit the network",
        (spec, "truncated.pth"): damaged[0],
        (spec, "foreign.pth"): damaged[1],
        (spec, "malicious.pth"): damaged[2],
        (spec, "absent.pth"): damaged[3],
        (hat_net, "malicious.pth"): damaged[2],
        (hat_net, "good.pth"): "good.pth: the checkpoint does not fit the network",
        ("resnet10t:num_classes=5", "other.pth"): "other.pth: its head has 5 classes, the images are of 3",
    }
    wanted = {(each, file): Wanted(spec=each, network=True, checkpoint=str(tmp_path / file)) for each, file in expected}
    found = preflight.take(list(wanted.values()), dataset=f"folder:{photos}", sizes=[(64, 64)])
    for asked, said in expected.items():
        mistakes = found.of(wanted[asked]).mistakes
        assert (not mistakes) if said is None else (said in mistakes[0]), (asked, mistakes)
    assert found.mistakes == ()
    misfit = found.of(wanted[spec, "other.pth"]).mistakes[0]
    assert "fc.weight is 5x512, the network's 3x512" in misfit
    assert len(found.of(wanted[spec, "good.pth"]).checkpoint_sha256) == 12
    assert not (tmp_path / "was here").exists()
    assert other.exists()


# In a sweep


def planned(**axes: object) -> Sweep:
    request = Request.of(scope=("network",), **axes)
    findings = tuple(
        Finding(wanted=wanted, name=wanted.spec, checkpoint_sha256="abc" * bool(wanted.checkpoint))
        for wanted in request.wanted
    )
    return plan(request, Preflight(findings=findings, devices=("cpu",)))


def test_a_network_is_evaluated_at_every_image_size_and_its_costs_have_no_checkpoint() -> None:
    sweep = planned(networks=("a", "b"), res=("224", "96x64"), accuracy="folder:x", checkpoint=("a=A", "b=B=1"))
    asked = {task: [cell for cell in sweep.cells if cell.task is task] for task in Task}
    assert [(c.network, c.height, c.width, c.checkpoint, c.checkpoint_sha256) for c in asked[Task.ACCURACY]] == [
        (name, height, width, file, "abc")
        for name, file in (("a", "A"), ("b", "B=1"))
        for height, width in ((224, 224), (96, 64))
    ]
    assert {(c.scope, c.mode) for c in asked[Task.ACCURACY]} == {(Scope.NETWORK, Mode.INFER)}
    assert {c.checkpoint for c in asked[Task.COST]} == {""}
    assert len(sweep.cells) == 8


def test_what_is_quantised_is_evaluated_by_each_runtime_beside_float32() -> None:
    runtimes = ("torch", "onnxruntime")
    sweep = planned(
        networks=("a",),
        res=("64",),
        dtype=("float32", "int8"),
        runtime=runtimes,
        accuracy="folder:x",
        checkpoint=("a=A",),
    )
    asked = [(cell.dtype, cell.runtime) for cell in sweep.cells if cell.task is Task.ACCURACY]
    assert asked == [("float32", "torch"), ("int8", "torch"), ("int8", "onnxruntime")]
    top1 = {("float32", "torch"): 0.9, ("int8", "torch"): 0.8, ("int8", "onnxruntime"): 0.7}
    records = [
        Record(
            cell=cell, status=Status.OK,
            metrics={"accuracy_top1": top1[cell.dtype, cell.runtime]} if cell.task is Task.ACCURACY else {"macs": 1},
        )
        for cell in sweep.cells
    ]  # fmt: skip
    found = {(row.dtype, row.runtime): row.accuracy_top1 for row in rows(records).itertuples()}
    assert found == top1 | {("float32", "onnxruntime"): 0.9}


def test_what_was_quantised_is_scored_and_the_network_beside_it(photos: Path) -> None:
    network, images = resnet(), evaluation.find(str(photos))
    shown: list[int] = []

    def other(x: torch.Tensor) -> torch.Tensor:
        shown.append(len(x))
        return network(x).roll(1, dims=1)  # never the class that the network names

    found = evaluation.evaluate(
        network, images, number(images.classes, own=(), asked="", outputs=3),
        transform=evaluation.preprocessing(network, height=64, width=64), quantized=other,
    )  # fmt: skip
    assert found.float32_top1 == pytest.approx(by_hand(network, photos / "val", 64))
    assert found.alike == 0
    assert shown == [evaluation.BATCH], "a graph takes batches of one size alone"
    assert found.images == 12


def test_ranges_are_taken_from_images_to_train_on_where_there_are_any(photos: Path) -> None:
    transform = evaluation.preprocessing(resnet(), height=64, width=64)
    (batch,), whose = evaluation.calibration(evaluation.find(str(photos)), transform)
    assert (whose, batch.shape) == ("12 of the images it is evaluated on", (evaluation.BATCH, 3, 64, 64))
    (photos / "train").symlink_to(photos / "val")
    assert evaluation.calibration(evaluation.find(str(photos)), transform)[1] == "12 images of train"


def test_a_checkpoint_is_quantised_with_ranges_from_images(tmp_path: Path, photos: Path) -> None:
    from attnbench import runtimes
    from attnbench.worker.scoring import evaluate_checkpoint

    if reason := runtimes.of("onnxruntime").why_missing():
        pytest.skip(reason)
    cell = Cell(
        task=Task.ACCURACY, mechanism="", scope=Scope.NETWORK, network="resnet10t", options={"num_classes": 3},
        height=64, width=64, dtype="int8", runtime="onnxruntime", dataset=f"folder:{photos}",
        checkpoint=str(saved(tmp_path / "weights.pth", resnet())),
    )  # fmt: skip
    found = evaluate_checkpoint(cell, lambda _: None, lambda _: None)
    assert found["accuracy_float32_top1"] == pytest.approx(by_hand(resnet(), photos / "val", 64))
    assert found["accuracy_as_float32"] > 0.7
    assert "ranges from 12 of the images it is evaluated on" in found["accuracy_remark"]
    assert found["accuracy_remark"].startswith("int8: ")


def test_other_weights_are_another_question_of_the_same_group() -> None:
    one, other = (
        Cell(mechanism="", network="a", height=64, width=64, checkpoint="A", checkpoint_sha256=h) for h in "ab"
    )
    assert one.key != other.key
    assert one.group == other.group


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"accuracy": "folder:x"}, "resnet18 would be evaluated with random weights; give --checkpoint resnet18=FILE"),
        ({"accuracy": "digits", "checkpoint": ("resnet18=x",)}, "networks are evaluated on folder:PATH"),
        ({"checkpoint": ("resnet8=x",)}, "did you mean resnet18"),
        ({"checkpoint": ("x.pth",)}, "write NETWORK=FILE"),
        ({"checkpoint": ("resnet18=x", "resnet18=y")}, "resnet18 is given 2 times"),
    ],
)
def test_checkpoints_that_belong_to_nothing_are_mistakes(axes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(networks=("resnet18",), **axes)
    (line,) = caught.value.mistakes
    assert said in line


def test_the_accuracy_stands_beside_the_costs_of_the_same_image_size() -> None:
    def record(side: int, **metrics: float) -> Record:
        task = Task.ACCURACY if metrics else Task.COST
        cell = Cell(task=task, scope=Scope.NETWORK, mechanism="", network="a", height=side, width=side)
        return Record(cell=cell, status=Status.OK, metrics=metrics)

    frame = rows([record(64), record(96), record(96, accuracy_top1=0.7), record(64, accuracy_top1=0.6)])
    assert list(zip(frame["res_height"], frame["accuracy_top1"], strict=True)) == [(64, 0.6), (96, 0.7)]


# From the command line


def attnbench(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attnbench.cli.main", "run", "--networks", "resnet10t:num_classes=3", *arguments]
    return subprocess.run(
        [*command, "--threads", "1", "--max-time", "0.1", "--out", "out"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_command_evaluates_a_checkpoint_beside_the_costs(tmp_path: Path, photos: Path) -> None:
    saved(tmp_path / "weights.pth", resnet())
    done = attnbench(
        "--res", "64,96", "--checkpoint", "resnet10t=weights.pth", "--accuracy", "folder:photos", "--strict",
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "records.csv").open() as file:
        found = {int(row["res_height"]): row for row in csv.DictReader(file)}
    assert {side: float(row["accuracy_top1"]) for side, row in found.items()} == {
        side: pytest.approx(by_hand(resnet(), photos / "val", side)) for side in (64, 96)
    }
    for row in found.values():
        assert (row["accuracy_kind"], row["dataset"], row["accuracy_top5"]) == ("evaluated", "folder:photos", "1.0")
        assert 0 < float(row["accuracy_ci_low"]) < float(row["accuracy_top1"]) < float(row["accuracy_ci_high"]) < 1
        assert float(row["latency_median_s"]) > 0


def test_the_command_runs_nothing_with_a_malicious_checkpoint(tmp_path: Path, photos: Path) -> None:
    torch.save({"fc.weight": Touch(tmp_path / "was here")}, tmp_path / "weights.pth")
    done = attnbench("--checkpoint", "resnet10t=weights.pth", "--accuracy", "folder:photos", folder=tmp_path)
    assert done.returncode == 2
    assert "holds pickled code or objects, which are never loaded" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "was here").exists()
