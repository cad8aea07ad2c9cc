"""Heads for dense tasks: torchvision's outputs, published figures, and what the harness asks of a module."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import detection as reference
from torchvision.ops import MultiScaleRoIAlign

from attnbench.mechanisms.hmhsa import HMHSA
from attnbench.models import subject
from attnbench.models.dense import DEFAULT_SIZE, DenseTask, instance
from attnbench.models.dense.features import Features
from attnbench.models.dense.model import build
from attnbench.probes import flops, memory_estimate
from attnbench.record import Cell, Mode, Scope

import_module("attnbench.mechanisms.hmhsa.network")

SIZE = (64, 96)
TASKS = pytest.mark.parametrize("task", list(DenseTask))
HAT_NET_DENSE = {"dense": True}
HAT_NET_PARAMS_M = {
    "hat_net_small": (29.5, 35.5, 45.4),
    "hat_net_medium": (46.7, 52.7, 62.6),
    "hat_net_large": (66.8, 73.1, 82.7),
}


@pytest.fixture
def few_proposals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "BOXES", 24)
    monkeypatch.setattr(instance, "MASKS", 8)


def small(task: DenseTask, network: str = "resnet18", **options) -> nn.Module:
    """A network and a head of the task, every weight random, biases included."""
    torch.manual_seed(0)
    model = build(task, network, height=SIZE[0], width=SIZE[1], classes=5, **options).eval()
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone.body"):
            nn.init.normal_(parameter, std=0.05)
    return model


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def weightless(task: DenseTask, network: str, **options) -> nn.Module:
    height, width = DEFAULT_SIZE[task]
    with torch.device("meta"):
        return build(task, network, height=height, width=width, **options).eval()


def params_m(model: nn.Module) -> float:
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def macs_g(model: nn.Module, *inputs: Tensor) -> tuple[float, float]:
    """Multiply-adds of one call in G: all, and without attention products."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(*inputs)
    counts = counter.get_flop_counts()["Global"]
    total = sum(counts.values())
    return total / 2e9, (total - counts.get(torch.ops.aten.bmm, 0)) / 2e9


def image_on_meta(task: DenseTask) -> Tensor:
    return torch.empty(1, 3, *DEFAULT_SIZE[task], device="meta")


def outputs_of(y: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (y,) if isinstance(y, Tensor) else y


# torchvision's detectors


def keeping_the_size(**options):
    return {"min_size": SIZE[0], "max_size": SIZE[1], "image_mean": [0.0] * 3, "image_std": [1.0] * 3, **options}


def captured(module: nn.Module) -> list:
    outputs = []
    module.register_forward_hook(lambda _, __, y: outputs.append(y))
    return outputs


def test_retinanet_gives_what_the_heads_of_torchvisions_give_and_has_its_names():
    ours = small(DenseTask.DETECTION)
    theirs = reference.RetinaNet(small(DenseTask.DETECTION).backbone, 5, **keeping_the_size()).eval()
    theirs.load_state_dict(ours.state_dict())
    seen = captured(theirs.head)
    with torch.no_grad():
        theirs(list(images()))
        logits, offsets = ours(images())
    torch.testing.assert_close(logits, seen[0]["cls_logits"])
    torch.testing.assert_close(offsets, seen[0]["bbox_regression"])


def as_torchvision_names(name: str) -> str:
    if name.startswith("rpn_head."):
        return name.replace("rpn_head.", "rpn.head.")
    return name if name.startswith("backbone.") else f"roi_heads.{name}"


@pytest.mark.usefixtures("few_proposals")
def test_mask_rcnn_gives_what_torchvisions_gives_on_the_same_proposals():
    ours = small(DenseTask.INSTANCE)
    theirs = reference.MaskRCNN(small(DenseTask.INSTANCE).backbone, 6, **keeping_the_size()).eval()
    theirs.load_state_dict({as_torchvision_names(name): tensor for name, tensor in ours.state_dict().items()})
    seen, heads = captured(theirs.rpn.head), theirs.roi_heads
    boxes, few = ours.proposals.flatten(0, 1).float(), ours.proposals[:, :2].flatten(0, 1).float()
    with torch.no_grad():
        theirs(list(images()))
        maps = theirs.backbone(images())
        regions = heads.box_roi_pool(maps, [boxes, boxes], [SIZE, SIZE])
        expected = [*seen[0][0], *seen[0][1], *heads.box_predictor(heads.box_head(regions))]
        regions = heads.mask_roi_pool(maps, [few, few], [SIZE, SIZE])
        expected.append(heads.mask_predictor(heads.mask_head(regions)))
        torch.testing.assert_close(list(ours(images())), expected)


def test_each_map_is_given_the_proposals_that_the_pyramids_rule_gives_it():
    boxes = torch.tensor(instance.proposals(800, 1280)).float()
    assert boxes.shape == (4, 250, 4)
    pooler = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=1, sampling_ratio=1)
    maps = {str(level): torch.full((1, 1, 200 >> level, 320 >> level), float(level)) for level in range(4)}
    levels = pooler(maps, [boxes.flatten(0, 1)], [(800, 1280)]).flatten()
    assert levels.tolist() == [level for level in (0.0, 1.0, 2.0, 3.0) for _ in range(250)]
    assert boxes.amin() >= 0
    assert boxes[..., 2].max() <= 1280
    assert boxes[..., 3].max() <= 800
    assert len(boxes.flatten(0, 1).unique(dim=0)) == 1000


# Semantic FPN


def test_semantic_fpn_adds_up_branches_that_double_their_map_after_each_convolution():
    model = small(DenseTask.SEGMENTATION).double()
    x = images().double()
    with torch.no_grad():
        maps = list(model.backbone(x).values())
        total = torch.zeros(2, 128, 16, 24, dtype=torch.float64)
        for level, branch in enumerate(model.branches):
            y = maps[level]
            for conv, norm, _ in branch:
                y = torch.conv2d(y, conv.weight, padding=1).unflatten(1, (32, 4))
                y = (y - y.mean((2, 3, 4), keepdim=True)) / (y.var((2, 3, 4), keepdim=True, correction=0) + 1e-5).sqrt()
                y = (y.flatten(1, 2) * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
                y = nn.Upsample(scale_factor=2, mode="bilinear")(y) if level else y
            total += y
        expected = torch.einsum("bchw,kc->bkhw", total, model.classifier.weight[..., 0, 0])
        expected += model.classifier.bias[:, None, None]
        torch.testing.assert_close(model(x), expected)
    assert [len(branch) for branch in model.branches] == [1, 1, 2, 3]


def test_semantic_fpn_takes_images_of_any_sides():
    with torch.no_grad():
        assert small(DenseTask.SEGMENTATION)(torch.randn(1, 3, 70, 99)).shape == (1, 5, 18, 25)


# What was published


@TASKS
@pytest.mark.parametrize("network", HAT_NET_PARAMS_M)
def test_hat_net_under_a_head_has_the_published_parameters(task, network):
    published = HAT_NET_PARAMS_M[network][list(DenseTask).index(task)]
    assert params_m(weightless(task, network)) == pytest.approx(published, abs=0.05)


@pytest.mark.parametrize(("task", "published"), list(zip(DenseTask, (15.9, 21.6, 31.8), strict=True)))
def test_the_paper_has_a_smaller_tiny_hat_net_under_every_head(task, published):
    assert params_m(weightless(task, "hat_net_tiny")) - published == pytest.approx(0.57, abs=0.05)


@pytest.mark.parametrize(
    ("network", "params", "macs"),
    [("swin_tiny_patch4_window7_224", 48, 267), ("swin_small_patch4_window7_224", 69, 359)],
)
def test_swin_under_mask_rcnn_has_the_parameters_and_macs_that_its_authors_publish(network, params, macs):
    """Source: the table of github.com/SwinTransformer/Swin-Transformer-Object-Detection, by MMDetection's count."""
    model = weightless(DenseTask.INSTANCE, network)
    assert params_m(model) == pytest.approx(params, abs=0.5)
    assert macs_g(model, image_on_meta(DenseTask.INSTANCE))[0] == pytest.approx(macs, rel=0.01)


@pytest.mark.parametrize(
    ("network", "published"), [("hat_net_tiny", 231 - 212), ("hat_net_small", 303 - 286), ("hat_net_medium", 424 - 405)]
)
def test_mask_rcnn_costs_as_much_more_than_retinanet_as_published(network, published):
    retinanet, mask_rcnn = (
        macs_g(weightless(task, network, **HAT_NET_DENSE), image_on_meta(task))[0]
        for task in (DenseTask.DETECTION, DenseTask.INSTANCE)
    )
    assert mask_rcnn - retinanet == pytest.approx(published, abs=2)  # four roundings to 1 G


@pytest.mark.parametrize(
    ("task", "macs", "macs_without_attention"),
    [
        (DenseTask.SEGMENTATION, 45.35, 43.53),
        (DenseTask.DETECTION, 256.76, 237.82),
        (DenseTask.INSTANCE, 275.34, 256.40),
    ],
)
def test_hat_net_small_costs_what_the_documentation_says(task, macs, macs_without_attention):
    found = macs_g(weightless(task, "hat_net_small", **HAT_NET_DENSE), image_on_meta(task))
    assert found == pytest.approx((macs, macs_without_attention), abs=0.005)


@pytest.mark.parametrize(
    ("network", "options", "dense"),
    [
        ("hat_net_tiny", {}, True),
        ("hat_net_tiny", {"dense": False}, False),
        ("hat_net_tiny", {"dense": True}, True),
        ("resnet18", {}, False),
    ],
)
def test_a_network_has_its_form_for_dense_tasks_unless_told_otherwise(network, options, dense):
    with torch.device("meta"):
        body = Features(network, height=224, width=224, **options)
    pools = [block.pool for block in body.modules() if isinstance(block, HMHSA)]
    assert pools[:4] == ([] if network == "resnet18" else [16, 16, 8, 8] if dense else [8, 8, 4, 4])
    assert body.dense is (dense and not options)


@pytest.mark.parametrize(
    ("spec", "said"),
    [({}, "in its form for dense tasks (dense=True)"), ({"dense": False}, ""), ({"dense": True}, "")],
)
def test_a_row_says_that_a_network_is_not_in_its_form_for_classification(spec, said):
    asked = {"scope": Scope.NETWORK, "network": "hat_net_tiny", "mechanism": "", "head": "segmentation"}
    cell = Cell(**asked, height=64, width=64, options={"backend": "sdpa", **spec})
    assert subject.of(cell).adaptation() == said


def test_images_are_padded_to_a_multiple_as_detectors_do():
    asked = {"scope": Scope.NETWORK, "network": "resnet18", "mechanism": "", "head": "instance"}
    cell = Cell(**asked, height=60, width=64, size_divisor=32, options={"backend": "sdpa"})
    padded, plain = subject.of(cell), subject.of(replace(cell, height=64, size_divisor=0))
    assert padded.example().shape == (1, 3, 64, 64)
    assert flops.count(padded.on_meta) == flops.count(plain.on_meta)
    assert (padded.adaptation(), plain.adaptation()) == ("images of 60x64 padded to 64x64", "")
    assert cell.key != replace(cell, size_divisor=0).key


# What the harness asks of a module


@TASKS
@pytest.mark.parametrize("network", ["resnet18", "pvt_v2_b0"])
@pytest.mark.usefixtures("few_proposals")
def test_every_parameter_learns_from_the_outputs(task, network):
    model = small(task, network).train()
    outputs = outputs_of(model(images()))
    torch.autograd.backward(outputs, [torch.randn_like(y) for y in outputs])
    unused = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    finest = {f"backbone.body.network.{end}" for end in ("norm1.weight", "norm1.bias")}
    assert unused <= (finest if task is DenseTask.DETECTION else set())


@TASKS
def test_two_counters_agree_on_multiply_adds_that_the_batch_does_not_change(task):
    def count(batch: int) -> flops.Counts:
        return flops.count(lambda: (small(task, "pvt_v2_b0"), (images(batch),)))

    one, two = count(1), count(2)
    assert one.macs_torch == one.macs_fvcore == two.macs_torch
    assert not one.remark
    assert one.macs_attention > 0


@TASKS
@pytest.mark.parametrize("mode", list(Mode))
def test_memory_can_be_estimated(task, mode):
    found = memory_estimate.estimate(lambda: (small(task), (images(),)), mode=mode, device="cpu")
    assert found.peak_bytes > 0


@TASKS
@pytest.mark.usefixtures("few_proposals")
def test_a_module_runs_in_half_precision_on_proposals_in_whole_pixels(task):
    model = small(task).to(torch.bfloat16)
    with torch.no_grad():
        assert {y.dtype for y in outputs_of(model(images().bfloat16()))} == {torch.bfloat16}
    if task is DenseTask.INSTANCE:
        assert model.proposals.dtype == torch.int64


@TASKS
@pytest.mark.usefixtures("few_proposals")
def test_images_in_a_batch_do_not_see_each_other(task):
    model, batch = small(task).double(), images().double()
    with torch.no_grad():
        both, alone = outputs_of(model(batch)), outputs_of(model(batch[:1]))
    for pair, single in zip(both, alone, strict=True):
        # Regions are cut out in float32
        torch.testing.assert_close(pair[: len(single)], single, rtol=1e-6, atol=1e-9)


# Networks


def test_maps_that_timm_gives_channels_last_are_turned():
    model = Features("swin_tiny_patch4_window7_224", height=64, width=96, embed_dim=24, depths=(1, 1, 1, 1))
    with torch.no_grad():
        shapes = [tuple(x.shape) for x in model(images(1))]
    assert shapes == [(1, 24, 16, 24), (1, 48, 8, 12), (1, 96, 4, 6), (1, 192, 2, 3)]


def test_a_network_that_does_not_say_how_its_maps_lie_gives_channels_first():
    model = Features("mobilenetv4_conv_small", height=64, width=96)
    with torch.no_grad():
        shapes = [tuple(x.shape) for x in model.eval()(images(1))]
    assert shapes == [(1, 32, 16, 24), (1, 64, 8, 12), (1, 96, 4, 6), (1, 960, 2, 3)]


def test_a_map_of_stride_two_is_left_out():
    with torch.device("meta"):
        assert Features("resnet18", height=64, width=96).channels == [64, 128, 256, 512]


@pytest.mark.parametrize(
    ("network", "options", "reason"),
    [
        ("vit_tiny_patch16_224", {}, "maps at strides 16, 16, 16; heads need them at 4, 8, 16, 32"),
        ("resnet_none", {}, "Unknown model"),
        ("resnet18", {"grids": 8}, "grids"),
    ],
)
def test_what_cannot_be_put_under_a_head_is_said(network, options, reason):
    with torch.device("meta"), pytest.raises((RuntimeError, TypeError, ValueError), match=reason):
        Features(network, height=64, width=64, **options)
