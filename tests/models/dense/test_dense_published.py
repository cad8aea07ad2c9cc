"""What can and what cannot explain the multiply-adds that HAT-Net's paper states for dense tasks."""

from __future__ import annotations

import pytest
import torch
from test_dense import HAT_NET_DENSE, image_on_meta, macs_g, params_m, weightless
from torch import nn

from attnbench.models.dense import DenseTask
from attnbench.models.dense.model import build
from attnbench.probes.flops_fvcore import count_fvcore

V1C = {"stem_type": "deep", "stem_width": 32}
"""MMSegmentation's stem of a ResNet: three convolutions of 3 x 3 in place of one of 7 x 7."""
RETINANET_G = {"small": 286, "medium": 405, "large": 519}
"""Published, rounded to 1 G."""


@pytest.mark.parametrize(
    ("task", "network", "options", "params", "macs"),
    [
        (DenseTask.SEGMENTATION, "resnet18", V1C, 15.5, 32.2),
        (DenseTask.SEGMENTATION, "resnet50", V1C, 28.5, 45.6),
        (DenseTask.SEGMENTATION, "resnet101", V1C, 47.5, 65.1),
        (DenseTask.DETECTION, "resnet50", {}, 37.7, 239),
        (DenseTask.INSTANCE, "resnet50", {}, 44.2, 260),
    ],
)
def test_resnets_under_the_heads_cost_what_is_published(task, network, options, params, macs):
    """Source: the tables of PVT (arXiv:2102.12122) and MMDetection, whose counts these are."""
    model = weightless(task, network, **options)
    assert params_m(model) == pytest.approx(params, rel=0.01)
    assert macs_g(model, image_on_meta(task))[0] == pytest.approx(macs, rel=0.005)


@pytest.mark.parametrize(
    ("grids", "pools", "published"),
    [
        ("8/8/8/1", "12/4/2/1", 338),
        ("8/8/8/1", "12/6/3/1", 313),
        ("8/8/8/1", "16/8/4/1", 303),
        ("8/8/8/1", "32/16/8/1", 291),
        ("16/16/8/1", "16/8/4/1", 309),
        ("4/4/4/1", "16/8/4/1", 300),
    ],
)
def test_hat_nets_ablation_is_of_padded_images_with_products_and_norms(grids, pools, published):
    """Source: HAT-Net, MIR 2024, table 6; 800 x 1280 is padded to multiples of 128."""
    options = {"grids": grids, "pools": pools, "partial": "dropped", **HAT_NET_DENSE}
    with torch.device("meta"):
        model = build(DenseTask.INSTANCE, "hat_net_small", height=896, width=1280, **options).eval()
        images = torch.empty(1, 3, 896, 1280)
    found = count_fvcore(model.requires_grad_(False), (images,))
    assert (found.macs + found.elementwise) / 1e9 == pytest.approx(published, abs=0.5)


def norm_and_bias_g(model: nn.Module, images: torch.Tensor) -> float:
    """What MMCV counts of a network beside its multiply-adds: twice a norm's elements, once a bias's."""
    counted = 0

    def count(module: nn.Module, _: object, y: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(module, nn.GroupNorm):
            counted += 2 * y.numel()
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            counted += y.numel()

    for module in model.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        model(images)
    return counted / 1e9


def test_what_mmcv_counts_beside_products_is_a_fiftieth_of_what_is_missing():
    model, images = (
        weightless(DenseTask.SEGMENTATION, "hat_net_small", **HAT_NET_DENSE),
        image_on_meta(DenseTask.SEGMENTATION),
    )
    missing = 49.6 - macs_g(model, images)[1]
    assert 0 < norm_and_bias_g(model.backbone.body, images) < missing / 50


def test_no_cost_that_blocks_of_a_stage_share_explains_small_medium_and_large():
    """Depths are 2, 3, 8, 3 and 3, 6, 18, 3 and 3, 8, 27, 3; the last stage of the large one is 1.25 times as wide.

    Let each block of a stage cost more by what the stage alone decides, and one in the wide stage by at most 1.25
    squared of that. Then the large network's excess is at most 1.45 of the medium one's and 0.1125 of the small one's:
    stage by stage 3 < 4.6, 8 < 9.1, 27 = 27.0, 3 x 1.5625 = 4.6875.
    """
    images = image_on_meta(DenseTask.DETECTION)
    excess = {
        variant: published - macs_g(weightless(DenseTask.DETECTION, f"hat_net_{variant}", **HAT_NET_DENSE), images)[1]
        for variant, published in RETINANET_G.items()
    }
    most = 1.45 * (excess["medium"] + 0.5) + 0.1125 * (excess["small"] + 0.5)
    assert excess["large"] - 0.5 > most + 4
