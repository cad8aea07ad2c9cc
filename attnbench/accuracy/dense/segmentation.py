"""Measures how well a network under Semantic FPN tells the classes of an image's pixels: ADE20K's mean IoU.

As MMSegmentation evaluates what papers print: whole images, of their own shape, one at a time; logits are brought to
the image as it was shown, then to the annotation's size, by linear interpolation without smoothing; intersections and
unions are summed over all images before they are divided, and the mean is over classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnbench.accuracy.composites.scores import Counts, confusion, mean_iou
from attnbench.accuracy.data.images import Photos
from attnbench.accuracy.dense import ade20k, resampling, shown
from attnbench.accuracy.dense.table import ADE20K, SETS, ImageScale
from attnbench.errors import DataError
from attnbench.wording import few, number_of

Progress = Callable[[int, int], None]
Sums: TypeAlias = Int[np.ndarray, "3 classes"]
_AT_ONCE = 10
"""Classes whose logits are brought to an annotation's size at once: all 150 of a large image would take gigabytes."""
_DRAWS = 1000


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    scenes: ade20k.ParsedScenes,
    *,
    scale: ImageScale,
    divisor: int = 1,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> shown.HeadScore:
    """Show a network every image once, in float32, and return the mean intersection over union, with its interval.

    Images that cannot be read, or whose annotation cannot, are left out, and the remark names them.

    Args:
        model: takes images, (1, 3, H, W), and returns logits at a stride of 4 or so, (1, 150, h, w).
        scenes: images and annotations.
        scale: what images are brought to.
        divisor: what sides are padded to multiples of, with zeros to the right and below.
        device: where to compute.
        progress: called after each image with the images done and all there are.

    Raises:
        DataError: no image is left.
        FloatingPointError: logits are infinite or not numbers.
    """
    model = model.eval().to(device)
    photos = Photos([(path, "") for path in scenes.images], {"": 0})
    counts: Counts = np.zeros((ade20k.CLASSES, ade20k.CLASSES), dtype=np.int64)
    wrong: list[str] = []
    of_images: list[Sums] = []
    for place, index in enumerate(shown.by_size(scenes.images, scale, divisor), start=1):
        if progress is not None:
            progress(place, len(photos))
        try:
            pixels = shown.pixels(photos.upright(index)[0])
        except DataError:  # which the photos have noted
            continue
        try:
            truth = ade20k.labels(scenes.annotations[index])
            shown.check_alike(photos.named(index), pixels.shape[-2:], truth.shape, "annotation")
        except DataError as error:
            wrong.append(str(error))
            continue
        said = classes_said(model, pixels.to(device), scale, divisor, size=truth.shape).cpu().numpy()
        known = truth != ade20k.IGNORED
        of_image = confusion(truth[known], said[known], ade20k.CLASSES)
        counts += of_image
        of_images.append(np.stack([np.diag(of_image), of_image.sum(1), of_image.sum(0)]))
    remark = _remark(scenes, photos, wrong, counts, len(of_images))
    if not counts.any():
        raise DataError(f"{scenes.root}: no pixel with a class is left to evaluate; {remark}")
    interval = resampling.ends("ade20k_miou", drawn_scores(of_images))
    return shown.HeadScore(metrics={"ade20k_miou": mean_iou(counts), **interval}, remark=remark)


def drawn_scores(of_images: Sequence[Sums]) -> list[float]:
    """Return the mean IoU of draws of images, classes that a draw neither shows nor is said to left out; none of few.

    Args:
        of_images: of each image and class, the pixels rightly said to be of it, those that are, those said to be.
    """
    if len(of_images) < resampling.FEWEST:
        return []
    drawn = resampling.draws(len(of_images), _DRAWS)
    sums = drawn @ np.stack(of_images).reshape(len(of_images), -1)
    right, are, said = sums.reshape(_DRAWS, 3, -1).swapaxes(0, 1)
    either = are + said - right
    shares = np.divide(right, either, out=np.full(right.shape, np.nan), where=either > 0)
    return [float(each) for each in np.nanmean(shares[(either > 0).any(1)], axis=1)]


def classes_said(
    model: nn.Module,
    pixels: Float[Tensor, "3 height width"],
    scale: ImageScale,
    divisor: int,
    *,
    size: tuple[int, ...],
) -> Int[Tensor, "rows columns"]:
    """Return the class that a network finds likeliest for each pixel of an annotation.

    Args:
        model: as ``evaluate`` has it.
        pixels: of the image, from 0 to 1.
        scale: what it is brought to.
        divisor: what its sides are padded to multiples of.
        size: of the annotation, height and width.

    Raises:
        FloatingPointError: logits are infinite or not numbers.
    """
    image = shown.resized(pixels, scale.size(pixels.shape[-2], pixels.shape[-1]))
    padded = shown.padded(shown.normalised(image), divisor)
    logits = model(padded[None])
    if not logits.isfinite().all():
        raise FloatingPointError("the network's logits are infinite or not numbers")
    best, chosen = torch.full(size, -torch.inf, device=logits.device), torch.zeros(size, dtype=torch.long)
    chosen = chosen.to(logits.device)
    for start in range(0, logits.shape[1], _AT_ONCE):
        some = F.interpolate(logits[:, start : start + _AT_ONCE], size=padded.shape[-2:], mode="bilinear")
        some = some[..., : image.shape[-2], : image.shape[-1]]
        highest, which = F.interpolate(some, size=size, mode="bilinear")[0].max(0)
        chosen = torch.where(highest > best, which + start, chosen)
        best = torch.maximum(best, highest)
    return chosen


def _remark(scenes: ade20k.ParsedScenes, photos: Photos, wrong: list[str], counts: Counts, done: int) -> str:
    scored = int(((counts.sum(0) + counts.sum(1)) > 0).sum())
    whole = SETS[ADE20K].images
    said = [
        f"of {number_of(done, 'image')}, not the {whole:,} of ADE20K's validation set" if done != whole else "",
        f"a mean of {scored} classes of {ade20k.CLASSES}: no image shows the others, and nothing was said to be of them"
        if scored < ade20k.CLASSES
        else "",
        f"without what has no image or no annotation: {few(scenes.left_out)}" if scenes.left_out else "",
        f"without {number_of(len(wrong), 'image')} whose annotation does not do: {few(wrong)}" if wrong else "",
        photos.remark,
    ]
    return "; ".join(filter(None, said))
