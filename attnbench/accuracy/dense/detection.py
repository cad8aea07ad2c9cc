"""Measures how well a network under RetinaNet or Mask R-CNN finds things: COCO's average precision, by pycocotools.

As the papers evaluate: one image at a time, its shorter side brought to 800 pixels and the longer to 1333 at most,
padded to multiples of 32; boxes are decoded, suppressed and brought back by torchvision, the 100 surest of an image
are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from attnbench.accuracy import detectors
from attnbench.accuracy.composites.scores import Said, by_coco_in_draws, encoded, results
from attnbench.accuracy.data.images import Photos
from attnbench.accuracy.dense import coco, resampling, shown
from attnbench.accuracy.dense.table import COCO, SETS, ImageScale
from attnbench.accuracy.detectors import Target
from attnbench.errors import DataError
from attnbench.models.dense import DenseTask
from attnbench.models.dense.detection import RetinaNet
from attnbench.models.dense.instance import MaskRCNN
from attnbench.wording import few, number_of

Progress = Callable[[int, int], None]
Results: TypeAlias = list[dict[str, Any]]
KINDS = len(coco.CATEGORIES)
MOST = 100
"""Boxes of an image that are scored."""
_DRAWS = 200
"""Fewer than of a segmentation: each takes one or two seconds for 5,000 images of 100 boxes."""
_LIKELY = 0.5
"""From what a pixel is of a mask."""


class AsPapersResize(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """What torchvision's detectors do to images, with the sizes and the interpolation of the papers."""

    def __init__(self, scale: ImageScale, divisor: int) -> None:
        super().__init__(
            min_size=scale.shorter,
            max_size=scale.longest,
            image_mean=list(shown.MEAN),
            image_std=list(shown.DEVIATION),
            size_divisible=divisor,
        )
        self.scale = scale

    def resize(self, image: Tensor, target: Target | None = None) -> tuple[Tensor, Target | None]:
        """Return an image at its size, and what is on it as it is."""
        return shown.resized(image, self.scale.size(image.shape[-2], image.shape[-1])), target


def detector(ours: RetinaNet | MaskRCNN, *, scale: ImageScale, divisor: int) -> nn.Module:
    """Return torchvision's detector of a network and a head, for whole images of any size, pixels from 0 to 1."""
    if isinstance(ours, MaskRCNN):
        found = detectors.of_regions(ours, box_detections_per_img=MOST)
    else:
        found = detectors.of_anchors(ours, KINDS, detections_per_img=MOST)
    found.transform = AsPapersResize(scale, divisor)
    return found


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    annotated: coco.AnnotatedImages,
    *,
    task: DenseTask,
    scale: ImageScale,
    divisor: int = SETS[COCO].divisor,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> shown.HeadScore:
    """Show a detector every image once, in float32, and return the AP of boxes, and of masks if any, with intervals.

    Images that cannot be read, or with an annotation that cannot, are left out, and the remark names them.

    Args:
        model: takes a list of one image, (3, H, W) from 0 to 1, and returns boxes, labels, scores and perhaps masks.
        annotated: images and annotations.
        task: whether there are masks, and what number the first kind has.
        scale: what images are brought to.
        divisor: what sides are padded to multiples of.
        device: where to compute.
        progress: called after each image with the images done and all there are.

    Raises:
        DataError: no image is left, or nothing is annotated on those that are.
    """
    model = model.eval().to(device)
    photos = Photos([(each.path, "") for each in annotated.images], {"": 0})
    order = shown.by_size([each.path for each in annotated.images], scale, divisor)
    found: dict[bool, Results] = {masks: [] for masks in ((False, True) if task is DenseTask.INSTANCE else (False,))}
    done: list[coco.CocoImage] = []
    wrong: list[str] = []
    for place, index in enumerate(order, start=1):
        if progress is not None:
            progress(place, len(order))
        image = annotated.images[index]
        try:
            pixels = shown.pixels(photos.upright(index)[0])
        except DataError:  # which the photos have noted
            continue
        try:
            _check(image, pixels)
        except DataError as error:
            wrong.append(str(error))
            continue
        (answer,) = model([pixels.to(device)])
        said = _read(answer, first_kind=1 if task is DenseTask.INSTANCE else 0)
        for masks, of_all in found.items():
            of_all.extend(_by_category(image.number, said, masks))
        done.append(image)
    remark = _remark(annotated, photos, wrong, len(done))
    drawn = resampling.draws(len(done), _DRAWS) if len(done) >= resampling.FEWEST else ()
    scores: dict[str, float] = {}
    for masks, of_all in found.items():
        name = _METRICS[masks]
        scores[name], of_draws = by_coco_in_draws(coco.truth(done), of_all, masks=masks, draws=drawn)
        if scores[name] < 0:
            raise DataError(f"{annotated.root}: no image with a thing on it is left to evaluate; {remark}")
        scores |= resampling.ends(name, of_draws)
    return shown.HeadScore(metrics=scores, remark=remark)


_METRICS = {False: "coco_ap_box", True: "coco_ap_mask"}
"""By whether masks are scored, and not boxes."""


def _check(image: coco.CocoImage, pixels: Tensor) -> None:
    if image.wrong:
        raise DataError(f"{image.path.name}: {image.wrong}")
    shown.check_alike(str(image.path), pixels.shape[-2:], (image.height, image.width), "entry says")


def _read(found: Target, *, first_kind: int) -> Said:
    boxes, labels, scores = (found[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
    masks = encoded(found["masks"][:, 0].cpu().numpy() >= _LIKELY) if "masks" in found else None
    return Said(boxes=boxes, kinds=labels - first_kind, scores=scores, masks=masks)


def _by_category(number: int, said: Said, masks: bool) -> Iterator[dict[str, Any]]:
    """Yield COCO's results of an image, with COCO's numbers for the kinds."""
    for each in results(number, said, masks):
        yield each | {"category_id": coco.CATEGORIES[each["category_id"] - 1]}


def _remark(annotated: coco.AnnotatedImages, photos: Photos, wrong: list[str], done: int) -> str:
    whole = SETS[COCO].images
    said = [
        f"of {number_of(done, 'image')}, not the {whole:,} of COCO's val2017" if done != whole else "",
        f"without {few(annotated.left_out)}, which are of no image" if annotated.left_out else "",
        f"without {number_of(len(wrong), 'image')} whose annotations do not do: {few(wrong)}" if wrong else "",
        photos.remark,
    ]
    return "; ".join(filter(None, said))
