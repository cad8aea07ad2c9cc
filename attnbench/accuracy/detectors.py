"""torchvision's detectors of pyramids and heads that are ours: anchors, decoding, suppression, pasting, training."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as RegionDetector
from torchvision.models.detection import RetinaNet as AnchorDetector
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from attnbench.models.dense.detection import RetinaNet
from attnbench.models.dense.features import STRIDES
from attnbench.models.dense.instance import BOX_SIDE, MASK_SIDE, MaskRCNN

Target: TypeAlias = dict[str, Tensor]

SIZES = (32, 64, 128, 256, 512)
"""Sides of the squares that anchors are made of, in pixels, one a map; those of the papers."""
SHAPES = (0.5, 1.0, 2.0)
"""Height over width of anchors."""


class Unchanged(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """What torchvision's detectors do to images, but for their size and their values: they come as they are to be."""

    def __init__(self) -> None:
        super().__init__(min_size=1, max_size=1, image_mean=[0.0] * 3, image_std=[1.0] * 3)

    def normalize(self, image: Tensor) -> Tensor:
        """Return an image as it is."""
        return image

    def resize(self, image: Tensor, target: Target | None = None) -> tuple[Tensor, Target | None]:
        """Return an image and what is on it as they are."""
        return image, target


def of_anchors(ours: RetinaNet, kinds: int, **limits: Any) -> nn.Module:  # noqa: ANN401
    """Return RetinaNet with nine anchors at each position of strides 8 to 128.

    Args:
        ours: whose pyramid and head it takes.
        kinds: of things.
        limits: what else torchvision's takes.
    """
    sizes = tuple(tuple(round(size * 2 ** (third / 3)) for third in range(3)) for size in SIZES)
    anchors = AnchorGenerator(sizes, (SHAPES,) * len(sizes))
    detector: nn.Module = AnchorDetector(ours.backbone, kinds, anchor_generator=anchors, head=ours.head, **limits)
    return detector


def of_regions(ours: MaskRCNN, **limits: Any) -> nn.Module:  # noqa: ANN401
    """Return Mask R-CNN with three anchors at each position of strides 4 to 64, and a mask for each box.

    Args:
        ours: whose pyramid and heads it takes.
        limits: what else torchvision's takes.
    """
    maps = [str(level) for level in range(len(STRIDES))]
    detector: nn.Module = RegionDetector(
        ours.backbone,
        rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in SIZES), (SHAPES,) * len(SIZES)),
        rpn_head=ours.rpn_head,
        box_roi_pool=MultiScaleRoIAlign(maps, BOX_SIDE, sampling_ratio=2),
        box_head=ours.box_head,
        box_predictor=ours.box_predictor,
        mask_roi_pool=MultiScaleRoIAlign(maps, MASK_SIDE, sampling_ratio=2),
        mask_head=ours.mask_head,
        mask_predictor=ours.mask_predictor,
        **limits,
    )
    return detector
