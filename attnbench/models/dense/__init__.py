"""Dense prediction: a network of any name under the head of a task, as the papers that compare backbones do it.

Here are the tasks as data, without torch, so that a sweep can be planned; ``attnbench.models.dense.model`` builds.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class DenseTask(StrEnum):
    """What is predicted, and by which head."""

    SEGMENTATION = "segmentation"
    """A class per pixel: Semantic FPN."""
    DETECTION = "detection"
    """Boxes: RetinaNet."""
    INSTANCE = "instance"
    """Boxes and a mask for each: Mask R-CNN."""


DEFAULT_SIZE: Mapping[DenseTask, tuple[int, int]] = MappingProxyType(
    {DenseTask.SEGMENTATION: (512, 512), DenseTask.DETECTION: (800, 1280), DenseTask.INSTANCE: (800, 1280)}
)
"""Height and width of the images at which papers state multiply-adds."""
DEFAULT_CLASSES: Mapping[DenseTask, int] = MappingProxyType(
    {DenseTask.SEGMENTATION: 150, DenseTask.DETECTION: 80, DenseTask.INSTANCE: 80}
)
"""Classes of ADE20K and COCO, the background not among them."""
