"""Mask R-CNN up to the outputs of its heads, of torchvision's own parts, on proposals that are given.

Paper: He et al., "Mask R-CNN", ICCV 2017, https://arxiv.org/abs/1703.06870.

Proposals are the same boxes whatever the weights, so that the cost is one number: 1000 for the box head, the first 100
of them for the mask head, as in MMDetection's count, whose figures papers print. A quarter each goes to the maps of
stride 4, 8, 16 and 32, in training as well. Left out, because their work depends on the values of weights and targets:
anchors, decoding, ranking and non-maximum suppression of boxes, matching and sampling, losses, pasting of masks.
Images go in at the size they have: nothing is resized or padded.

Differs from torchvision's published detectors:
    - They count 91 classes, unused numbers of COCO among them; the default here is 80.
    - Regions are cut out in float32: torchvision has no kernel for bfloat16.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from attnbench.models.dense.features import STRIDES, WIDTH, Body, FeaturePyramid, Images
from attnbench.models.network import Level

BOXES, MASKS = 1000, 100
"""Proposals per image that the box head and the mask head are given."""
BOX_SIDE, MASK_SIDE = 7, 14
"""Positions along a side of a region, for the two heads."""
HIDDEN = 1024
"""Channels of the box head."""
ANCHORS = 3
"""Boxes that are proposed at each position."""
SPREAD = (0.7548776662, 0.5698402910)
"""Steps down and across, modulo 1, that cover a square evenly (the plastic number's first two negative powers)."""

Regions: TypeAlias = Float[Tensor, "regions channels side side"]


class MaskRCNN(nn.Module):
    """A network, a pyramid of strides 4 to 64, the proposing head, and the heads for boxes and masks."""

    def __init__(self, body: Body, classes: int, *, height: int, width: int) -> None:
        super().__init__()
        self.backbone = FeaturePyramid(body, coarser=LastLevelMaxPool())
        self.rpn_head = RPNHead(WIDTH, ANCHORS)
        self.box_head = TwoMLPHead(WIDTH * BOX_SIDE**2, HIDDEN)
        self.box_predictor = FastRCNNPredictor(HIDDEN, classes + 1)
        self.mask_head = MaskRCNNHeads(WIDTH, (WIDTH,) * 4, 1)
        self.mask_predictor = MaskRCNNPredictor(WIDTH, WIDTH, classes + 1)
        self.proposals: Tensor  # whole pixels: a module that is cast to half precision keeps them
        self.register_buffer("proposals", torch.tensor(proposals(height, width)), persistent=False)

    def forward(self, images: Images) -> tuple[Tensor, ...]:
        """Return what the heads do.

        Returns:
            Five maps of logits of proposals, (B, 3, h, w); five of their offsets, (B, 12, h, w); logits of the classes
            of boxes, (1000 B, classes + 1); their offsets, (1000 B, 4 (classes + 1)); logits of masks,
            (100 B, classes + 1, 28, 28).
        """
        maps = list(self.backbone(images).values())
        objectness, offsets = self.rpn_head(maps)
        boxes = self.box_predictor(self.box_head(self.regions(maps, BOXES, BOX_SIDE)))
        masks = self.mask_predictor(self.mask_head(self.regions(maps, MASKS, MASK_SIDE)))
        return (*objectness, *offsets, *boxes, masks)

    def regions(self, maps: list[Level], count: int, side: int) -> Regions:
        """Return what lies under the first so many proposals of each image, image by image."""
        share, batch = count // len(STRIDES), maps[0].shape[0]
        regions = []
        for x, boxes, stride in zip(maps, self.proposals, STRIDES, strict=False):  # proposals have no stride 64
            places = [boxes[:share].float()] * batch
            cut = roi_align(x.float(), places, side, 1 / stride, sampling_ratio=2)
            regions.append(cut.to(x.dtype).unflatten(0, (batch, share)))
        return torch.cat(regions, dim=1).flatten(0, 1)


def proposals(height: int, width: int) -> list[list[list[int]]]:
    """Return boxes in pixels (left, top, right, bottom), 250 for each stride, spread over an image.

    They are squares of 16 positions a side, which is what the pyramid's rule gives to a map. On an image smaller than
    512 pixels the largest ones reach beyond its border.
    """
    return [
        [_square(index, 16 * stride, height, width) for index in range(BOXES // len(STRIDES))] for stride in STRIDES
    ]


def _square(index: int, side: int, height: int, width: int) -> list[int]:
    down, across = (index * step % 1 for step in SPREAD)
    top, left = round(down * (height - side)), round(across * (width - side))
    return [left, top, left + side, top + side]
