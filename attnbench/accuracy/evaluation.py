"""Measures how many images of a folder a network with trained weights names right. Knows no cells.

The folder is laid out as timm's folder data set takes it: ``validation`` or ``val`` below it, or the folder itself,
with a folder of images per class. How classes are numbered is in ``attnbench.accuracy.classes``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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

_BATCH = 32
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


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    images: folders.Images,
    numbers: Numbering,
    *,
    transform: Transform,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Evaluation:
    """Show a network every image once, in float32, and return how many it names right.

    Args:
        model: takes images, (B, 3, H, W), and returns logits, (B, classes).
        images: of a folder.
        numbers: of its classes.
        transform: the network's own preprocessing.
        device: where to compute.
        progress: called after each batch with the images done and all there are.

    Raises:
        DataError: an image cannot be read.
        FloatingPointError: logits are infinite or not numbers.
    """
    model = model.eval().to(device)
    photos = Photos(images.samples, numbers.numbers, transform)
    split = Files(photos, spare_cores=min(_MOST_PROCESSES, machine.whole_cores() - 1))
    answers: list[Tensor] = []
    done = among_five = 0
    for batch, labels in loader(InOrder(split, size=_BATCH), split):
        logits = model(batch.to(device)).cpu()
        if not logits.isfinite().all():
            raise FloatingPointError("the network's logits are infinite or not numbers")
        likeliest = logits.topk(min(5, logits.shape[1])).indices
        answers.append(torch.stack([labels, likeliest[:, 0]]))
        among_five += int((likeliest == labels[:, None]).sum())
        done += len(labels)
        if progress is not None:
            progress(done, len(photos))
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
        remark="; ".join(filter(None, [numbers.remark, images.remark, *doubts])),
    )
