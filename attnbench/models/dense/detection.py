"""RetinaNet up to the outputs of its heads, of torchvision's own parts.

Paper: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, https://arxiv.org/abs/1708.02002.

Left out, because their work depends on the values of weights and targets: anchors, decoding and non-maximum
suppression of boxes, matching, losses. Images go in at the size they have: nothing is resized or padded.

Differs from torchvision's published detectors:
    - They count 91 classes, unused numbers of COCO among them; the default here is 80.
    - The two coarsest maps are made from the network's last map, as in MMDetection's models of the papers, unless it
      has 256 channels itself.
"""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from attnbench.models.dense.features import WIDTH, Body, FeaturePyramid, Images

ANCHORS = 9
"""Boxes that are judged at each position: three sizes of three shapes."""

Detections: TypeAlias = tuple[Float[Tensor, "batch boxes classes"], Float[Tensor, "batch boxes 4"]]


class RetinaNet(nn.Module):
    """A network, a pyramid of strides 8 to 128 and the two heads."""

    def __init__(self, body: Body, classes: int) -> None:
        super().__init__()
        self.backbone = FeaturePyramid(body, skipped=1, coarser=LastLevelP6P7(body.channels[-1], WIDTH))
        self.head = RetinaNetHead(WIDTH, ANCHORS, classes)

    def forward(self, images: Images) -> Detections:
        """Return the logits of the classes and the offsets of every box."""
        outputs = self.head(list(self.backbone(images).values()))
        return outputs["cls_logits"], outputs["bbox_regression"]
