"""From a checkpoint of a network and its head, and a folder, to a score. Knows no cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from attnbench.accuracy.dense import ade20k, detection, layouts, segmentation
from attnbench.accuracy.dense.shown import HeadScore
from attnbench.accuracy.dense.table import ImageScale, asked
from attnbench.models.dense import DEFAULT_CLASSES, DenseTask, weights
from attnbench.models.dense.detection import RetinaNet
from attnbench.models.dense.instance import MaskRCNN
from attnbench.models.dense.resized import NetworkOfAnySize
from attnbench.models.dense.segmentation import SemanticFPN
from attnbench.record import Value

Progress = Callable[[int, int], None]
"""Called with the images done and all there are."""


def build(
    checkpoint: Path, task: DenseTask, network: str, options: Mapping[str, Value], *, height: int, width: int
) -> tuple[SemanticFPN | RetinaNet | MaskRCNN, str]:
    """Return a network under a head with the weights of a checkpoint, and what a reader must know of it.

    Args:
        checkpoint: of network and head.
        task: what it predicts.
        network: as timm knows it.
        options: of the network.
        height: of images, in pixels, for a network that is bound to a size: at another it is built anew.
        width: of images, in pixels.

    Raises:
        DataError: the checkpoint cannot be read, or does not fit.
        Exception: whatever the network's constructor raises.
    """
    loaded = weights.load(checkpoint, task)
    body = NetworkOfAnySize(network, options, loaded.load_network, height=height, width=width)
    classes, remark = DEFAULT_CLASSES[task], ""
    model: SemanticFPN | RetinaNet | MaskRCNN
    if task is DenseTask.SEGMENTATION:
        model = SemanticFPN(body, classes, batch_norms=loaded.batch_norms)
        remark = "with batch norms in the head, as its checkpoint has" if loaded.batch_norms else ""
    elif task is DenseTask.DETECTION:
        model = RetinaNet(body, classes)
    else:
        model = MaskRCNN(body, classes, height=height, width=width)
    loaded.load_head(model)
    return model, remark


def evaluate(
    model: SemanticFPN | RetinaNet | MaskRCNN,
    dataset: str,
    task: DenseTask,
    *,
    scale: ImageScale,
    divisor: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> HeadScore:
    """Show a network under a head every validation image, and return its score.

    Args:
        model: with trained weights.
        dataset: as ``--accuracy`` names it.
        task: what the model predicts.
        scale: what images are brought to.
        divisor: what sides are padded to multiples of; 0 for what the papers do.
        device: where to compute.
        progress: called after each image.

    Raises:
        DataError: the data set is not there, or nothing of it is left to evaluate.
        FloatingPointError: what the model says is infinite or not numbers.
        SizeRefusedError: the network failed on images of a size.
    """
    found, divisor = layouts.find(dataset), divisor or asked(dataset)[0].divisor
    if isinstance(found, ade20k.ParsedScenes):
        return segmentation.evaluate(model, found, scale=scale, divisor=divisor, device=device, progress=progress)
    assert not isinstance(model, SemanticFPN)
    shown_whole = detection.detector(model, scale=scale, divisor=divisor)
    return detection.evaluate(
        shown_whole, found, task=task, scale=scale, divisor=divisor, device=device, progress=progress
    )
