"""RetinaNet on composites, by torchvision's own training: its anchors, matching, focal loss, decoding and suppression.

The pyramid and the head are those that ``--task detection`` measures. Boxes are regressed by torchvision's L1 loss, as
in MMDetection; the paper says smooth L1. Images keep their size, but for padding to multiples of 32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnbench.accuracy.composites.batches import KINDS, CompositeBatch
from attnbench.accuracy.composites.scene import Composite
from attnbench.accuracy.composites.scores import Said, average_precision
from attnbench.accuracy.composites.trained import TrainedHead
from attnbench.accuracy.detectors import Target, Unchanged, of_anchors
from attnbench.models.dense.detection import RetinaNet
from attnbench.models.dense.features import Body


class TrainedDetector(TrainedHead):
    """One of torchvision's detectors, of a network and heads of ours."""

    first_kind = 0
    """The label of the first kind."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        detector.transform = Unchanged()
        self.detector = detector
        self.seen: list[Composite] = []
        self.said: list[Said] = []

    def loss(self, batch: CompositeBatch) -> Tensor:
        """Return the sum of the losses."""
        where = next(self.parameters()).device
        losses = self.detector(list(batch.images.to(where)), [self._target(each, where) for each in batch.composites])
        return torch.stack(list(losses.values())).sum()

    @torch.no_grad()
    def examine(self, batch: CompositeBatch) -> None:
        """Keep what is found in each image."""
        found = self.detector(list(batch.images.to(next(self.parameters()).device)))
        self.seen += batch.composites
        self.said += [self._read(each) for each in found]

    def scores(self) -> dict[str, float]:
        """Return COCO's average precision of boxes."""
        return {"ap_box": average_precision(self.seen, self.said, masks=False)}

    def blind(self) -> float:
        """Return 0: no box that is always the same overlaps with many."""
        return 0.0

    def _target(self, composite: Composite, where: torch.device) -> Target:
        return {
            "boxes": torch.from_numpy(composite.boxes).float().to(where),
            "labels": torch.from_numpy(composite.kinds).to(where) + self.first_kind,
        }

    def _read(self, found: Target) -> Said:
        boxes, labels, scores = (found[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
        return Said(boxes=boxes, kinds=labels - self.first_kind, scores=scores)


class TrainedRetinaNet(TrainedDetector):
    """RetinaNet: nine anchors at each position of strides 8 to 128."""

    def __init__(self, body: Body) -> None:
        super().__init__(of_anchors(RetinaNet(body, KINDS), KINDS))
