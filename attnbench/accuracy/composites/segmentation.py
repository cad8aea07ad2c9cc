"""Semantic FPN on composites: cross-entropy of every pixel, mean intersection over union."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from attnbench.accuracy.composites.batches import KINDS, CompositeBatch
from attnbench.accuracy.composites.scores import Counts, confusion, mean_iou
from attnbench.accuracy.composites.trained import TrainedHead
from attnbench.models.dense.features import Body
from attnbench.models.dense.segmentation import SemanticFPN

CLASSES = KINDS + 1
"""The photograph, and each kind of garment."""


class TrainedSemanticFPN(TrainedHead):
    """Logits brought to the image's size, as MMSegmentation does, in training as well."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.network = SemanticFPN(body, CLASSES)
        self.counts: Counts = np.zeros((CLASSES, CLASSES), dtype=np.int64)

    def loss(self, batch: CompositeBatch) -> Tensor:
        """Return the mean cross-entropy of the pixels."""
        logits = self._logits(batch)
        return F.cross_entropy(logits, batch.labels.to(logits.device))

    @torch.no_grad()
    def examine(self, batch: CompositeBatch) -> None:
        """Count the pixels of each class that are said to be of each."""
        said = self._logits(batch).argmax(1).cpu().numpy()
        self.counts = self.counts + confusion(batch.labels.numpy(), said, CLASSES)

    def scores(self) -> dict[str, float]:
        """Return the mean intersection over union of the kinds and of the photograph."""
        return {"miou": mean_iou(self.counts)}

    def blind(self) -> float:
        """Return the score of who says of every pixel that it is of the class that most are of."""
        of_class = self.counts.sum(1)
        return float(of_class.max() / of_class.sum() / np.count_nonzero(of_class))

    def _logits(self, batch: CompositeBatch) -> Tensor:
        images = batch.images.to(self.network.classifier.weight.device)
        return F.interpolate(self.network(images), size=images.shape[-2:], mode="bilinear")
