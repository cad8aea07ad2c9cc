"""Mask R-CNN on composites, by torchvision's own training: proposals, matching, sampling, losses, pasting of masks.

The pyramid and the heads are those that ``--task instance`` measures, on proposals of its own and not on those that
cost is counted with. Regions are sampled as in the papers, but for their number: an image has few garments.
"""

from __future__ import annotations

import torch

from attnbench.accuracy.composites.batches import KINDS
from attnbench.accuracy.composites.detection import TrainedDetector
from attnbench.accuracy.composites.scene import Composite
from attnbench.accuracy.composites.scores import Said, average_precision, encoded
from attnbench.accuracy.detectors import Target, of_regions
from attnbench.models.dense.features import Body
from attnbench.models.dense.instance import MaskRCNN

SAMPLED = 64
"""Regions of an image that the box head learns from; papers take 512, of images of many times the size."""
PROPOSED = 300
"""Regions of an image that are proposed at most, before and after suppression; papers take 1000 and more."""
_LIKELY = 0.5
"""From what a pixel is of a mask."""


class TrainedMaskRCNN(TrainedDetector):
    """Mask R-CNN: three anchors at each position of strides 4 to 64, and a mask for each box."""

    first_kind = 1
    """0 is no garment."""

    def __init__(self, body: Body) -> None:
        # Proposals for counting are of no use here, and so the size that they are for.
        ours = MaskRCNN(body, KINDS, height=512, width=512)
        super().__init__(
            of_regions(
                ours,
                rpn_pre_nms_top_n_train=PROPOSED,
                rpn_post_nms_top_n_train=PROPOSED,
                rpn_pre_nms_top_n_test=PROPOSED,
                rpn_post_nms_top_n_test=PROPOSED,
                box_batch_size_per_image=SAMPLED,
            )
        )

    def scores(self) -> dict[str, float]:
        """Return COCO's average precisions of boxes and of masks."""
        return {**super().scores(), "ap_mask": average_precision(self.seen, self.said, masks=True)}

    def _target(self, composite: Composite, where: torch.device) -> Target:
        masks = torch.from_numpy(composite.masks).to(where, torch.uint8)
        return {**super()._target(composite, where), "masks": masks}

    def _read(self, found: Target) -> Said:
        boxes, labels, scores, masks = (found[name].cpu().numpy() for name in ("boxes", "labels", "scores", "masks"))
        return Said(boxes=boxes, kinds=labels - self.first_kind, scores=scores, masks=encoded(masks[:, 0] >= _LIKELY))
