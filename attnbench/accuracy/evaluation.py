"""Measures how many images of a folder a network with trained weights names right. Knows no cells.

The folder is laid out as timm's folder data set takes it: ``validation`` or ``val`` below it, or the folder itself,
with a folder of images per class. How classes are numbered is in ``attnbench.accuracy.classes``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from attnbench.accuracy import doubt
from attnbench.accuracy.classes import Numbering, listing, number
from attnbench.accuracy.data import folders
from attnbench.accuracy.data.images import Photos, Transform
from attnbench.accuracy.data.splits import Files
from attnbench.accuracy.training import InOrder, loader
from attnbench.devices import machine
from attnbench.errors import DataError
from attnbench.models.tensors import candidates
from attnbench.record import Value

PREFIX = "folder:"
Progress = Callable[[int, int], None]

BATCH = 32
"""Images that are evaluated at once."""
_CALIBRATED_ON = 128
_MOST_PROCESSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How many images of a folder were named right, as fractions."""

    images: int
    top1: float
    top5: float
    """Images whose class is among the five likeliest, or among all where there are fewer."""
    ci_low: float
    """Lower end of the 95 % Wilson interval of ``top1``."""
    ci_high: float
    order: str
    """How classes are numbered, see ``Numbering``."""
    remark: str = ""
    """What a reader must know of it, after the word accuracy."""
    float32_top1: float | None = None
    """Of the network itself, on the same images; None where that is what was evaluated."""
    alike: float | None = None
    """Images for which the network itself names the same class, right or wrong; None likewise."""

    def to_metrics(self) -> dict[str, Value]:
        """Return the metrics of a record."""
        return {
            "accuracy_kind": "evaluated",
            "accuracy_top1": self.top1,
            "accuracy_top5": self.top5,
            "accuracy_ci_low": self.ci_low,
            "accuracy_ci_high": self.ci_high,
            "accuracy_class_order": self.order,
            "accuracy_remark": self.remark or None,
            "accuracy_float32_top1": self.float32_top1,
            "accuracy_as_float32": self.alike,
        }


def find(path: str) -> folders.Images:
    """Find the images of a folder, without reading them.

    Raises:
        DataError: there is no such folder, no class with images in it, or only images to train on.
    """
    root = Path(path).expanduser()
    if not path or not root.is_dir():
        raise DataError(f"no folder {path!r}; give {PREFIX}PATH with a folder of images per class in PATH/val")
    below = folders.one_of(root, folders.HELD_OUT)
    if below is None and folders.one_of(root, folders.TRAIN):
        raise DataError(f"{root} has images to train on and no folder validation or val to evaluate on")
    return folders.find(below or root)


def numbering(images: folders.Images, checkpoint: Path, *, asked: str, outputs: int) -> Numbering:
    """Return the numbers of a folder's classes for the network of a checkpoint.

    Args:
        images: of the folder.
        checkpoint: which may name its classes.
        asked: what ``--class-order`` says, see ``number``.
        outputs: of the network.

    Raises:
        DataError: the classes are not the network's.
    """
    lists = (listing(each) for each in candidates(checkpoint))
    own = next((each for each in lists if len(each) == outputs), ())
    return number(images.classes, own=own, asked=asked, outputs=outputs)


def preprocessing(model: nn.Module, *, height: int, width: int) -> Transform:
    """Return a network's own preprocessing for an image size: what timm resolves from its configuration."""
    from timm.data.config import resolve_data_config  # noqa: PLC0415 - seconds to import
    from timm.data.transforms_factory import create_transform  # noqa: PLC0415

    config = resolve_data_config({"input_size": (3, height, width)}, model=model)  # type: ignore[no-untyped-call]
    transform: Transform = create_transform(**config, is_training=False)
    return transform


def calibration(images: folders.Images, transform: Transform) -> tuple[list[Tensor], str]:
    """Return batches of images from which ranges may be taken, and in words which those are.

    They are of the folder of images to train on beside the evaluated ones, where there is one.

    Args:
        images: that are evaluated on.
        transform: the network's own preprocessing.

    Raises:
        DataError: none of them can be read.
    """
    other = folders.one_of(images.root.parent, folders.TRAIN)
    found = folders.find(other) if other else images
    drawn = np.linspace(0, len(found.samples) - 1, min(_CALIBRATED_ON, len(found.samples))).astype(int).tolist()
    photos = Files(Photos(found.samples, dict.fromkeys(found.classes, 0), transform), spare_cores=0)
    pixels, _ = photos.batch(drawn, draw=0)
    if not len(pixels):
        raise DataError(f"no image of {found.root} can be read to take ranges from; {photos.remark}")
    whose = f"{len(pixels)} images of {other.name}" if other else f"{len(pixels)} of the images it is evaluated on"
    return [_filled(batch) for batch in torch.split(pixels, BATCH)], whose


def _filled(batch: Tensor) -> Tensor:
    """Return a batch of the size that a graph was exported for: what lacks are images of it again."""
    return batch if len(batch) == BATCH else batch[torch.arange(BATCH) % len(batch)]


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    images: folders.Images,
    numbers: Numbering,
    *,
    transform: Transform,
    device: torch.device | str = "cpu",
    quantized: Callable[[Tensor], Tensor] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Show a network every image once, in float32, and return how many it names right.

    Images that cannot be read are left out, and the remark names them.

    Of what it was quantised to, that is returned, with how often the network itself is right and says the same.

    Args:
        model: takes images, (B, 3, H, W), and returns logits, (B, classes).
        images: of a folder.
        numbers: of its classes.
        transform: the network's own preprocessing.
        device: where to compute.
        quantized: what the network was made to, for batches of ``BATCH`` images; None to evaluate the network.
        progress: called after each batch with the images done and all there are.

    Raises:
        DataError: no image can be read.
        FloatingPointError: logits are infinite or not numbers.
    """
    model = model.eval().to(device)
    photos = Photos(images.samples, numbers.numbers, transform, said=images.remark)
    split = Files(photos, spare_cores=min(_MOST_PROCESSES, machine.whole_cores() - 1))
    answers: list[Tensor] = []
    done = among_five = right_itself = alike = 0
    for batch, labels in loader(InOrder(split, size=BATCH), split):
        if not len(labels):
            continue
        logits = model(batch.to(device)).cpu()
        if quantized is not None:
            own, logits = logits.argmax(dim=1), quantized(_filled(batch).to(device)).cpu()[: len(batch)]
            right_itself += int((own == labels).sum())
            alike += int((own == logits.argmax(dim=1)).sum())
        if not logits.isfinite().all():
            raise FloatingPointError("the network's logits are infinite or not numbers")
        likeliest = logits.topk(min(5, logits.shape[1])).indices
        answers.append(torch.stack([labels, likeliest[:, 0]]))
        among_five += int((likeliest == labels[:, None]).sum())
        done += len(labels)
        if progress is not None:
            progress(done, len(photos))
    if not done:
        raise DataError(f"no image of {images.root} can be read; {photos.remark}")
    right, said = torch.cat(answers, dim=1).numpy()
    first = int((right == said).sum())
    interval = binomtest(first, done).proportion_ci(method="wilson")
    doubts = doubt.of(right, said, numbers, high=float(interval.high))
    return Evaluation(
        images=done,
        top1=first / done,
        top5=among_five / done,
        ci_low=float(interval.low),
        ci_high=float(interval.high),
        order=numbers.order,
        remark="; ".join(filter(None, [numbers.remark, photos.remark, *doubts])),
        float32_top1=right_itself / done if quantized is not None else None,
        alike=alike / done if quantized is not None else None,
    )
