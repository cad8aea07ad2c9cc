"""The heads that are trained on composites, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from attnbench.accuracy.composites.bodies import Head
from attnbench.accuracy.composites.detection import TrainedRetinaNet
from attnbench.accuracy.composites.instance import TrainedMaskRCNN
from attnbench.accuracy.composites.segmentation import TrainedSemanticFPN
from attnbench.models.dense import DenseTask


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOnComposites:
    """How a head is trained."""

    build: Head
    epochs: int
    """That comparing mechanisms takes."""


HEADS: Mapping[DenseTask, HeadOnComposites] = MappingProxyType(
    {
        DenseTask.SEGMENTATION: HeadOnComposites(build=TrainedSemanticFPN, epochs=12),
        DenseTask.DETECTION: HeadOnComposites(build=TrainedRetinaNet, epochs=24),
        DenseTask.INSTANCE: HeadOnComposites(build=TrainedMaskRCNN, epochs=24),
    }
)
"""By task."""
