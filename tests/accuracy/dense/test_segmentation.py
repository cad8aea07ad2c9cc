"""Mean IoU on a folder of ADE20K's layout: hand counts, a definition written the slow way, and what is wrong named."""

from __future__ import annotations

from pathlib import Path

import annotated_folders as made
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from attnbench.accuracy.dense import ade20k, segmentation, shown
from attnbench.accuracy.dense.shown import DEVIATION, MEAN
from attnbench.accuracy.dense.table import ImageScale
from attnbench.errors import DataError

COLOURS = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [250, 250, 250]])
"""Of the classes 0 to 3 where pictures tell them: what lies between two of them is near no third."""
AS_IT_IS = ImageScale(shorter=64, longest=256)


class ByColour(nn.Module):
    """Says of each square of four pixels a side which of four colours is nearest to its mean, of 150 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, ade20k.CLASSES, 4, stride=4)
        colours = torch.tensor(COLOURS / 255, dtype=torch.float32)
        mean, deviation = torch.tensor(MEAN), torch.tensor(DEVIATION)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.fill_(-1e3)
            # The nearest colour c to x has the largest c x - c c / 2, with x = mean + deviation * shown.
            self.conv.weight[:4] = (colours * deviation)[:, :, None, None] / 16
            self.conv.bias[:4] = (colours * mean).sum(1) - (colours**2).sum(1) / 2

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


def stripes() -> np.ndarray:
    """Classes 0 to 3, 32 columns of 64 pixels each."""
    return np.repeat(np.arange(4), 32)[None].repeat(64, axis=0)


def evaluated(root: Path, model: nn.Module, **how) -> shown.HeadScore:
    return segmentation.evaluate(model, ade20k.find(str(root)), **({"scale": AS_IT_IS} | how))


def test_hand_set_weights_get_exactly_the_mean_iou_of_what_they_say(tmp_path):
    """Of class 1, 256 of 2048 pixels are annotated as class 3 and 128 as none: of the 1920 where it is said, 1664."""
    classes = stripes()
    annotated = classes + 1
    annotated[:16, 40:56], annotated[16:24, 40:56] = 4, 0
    root = made.ade20k(tmp_path, [(COLOURS[classes].astype(np.uint8), annotated)] * 2)
    found = evaluated(root, ByColour())
    assert found.metrics == {"ade20k_miou": pytest.approx((1 + 1664 / 1920 + 1 + 2048 / 2304) / 4, abs=1e-12)}
    assert found.remark == (
        "of 2 images, not the 2,000 of ADE20K's validation set; a mean of 4 classes of 150: no image shows the others, "
        "and nothing was said to be of them"
    )


def enlarged(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    """Linear interpolation in float64 between the centres of pixels, those of the border beyond them, (C, H, W)."""
    for axis, length in ((1, height), (2, width)):
        old = logits.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
        low = np.minimum(np.floor(at).astype(int), max(0, old - 2))
        share = (at - low).reshape([-1 if each == axis else 1 for each in range(3)])
        upper = np.take(logits, np.minimum(low + 1, old - 1), axis)
        logits = np.take(logits, low, axis) * (1 - share) + upper * share
    return logits


def by_definition(model: nn.Module, root: Path, shorter: int) -> float:
    """The mean over classes of summed intersections over summed unions, image by image and class by class."""
    both, either = np.zeros(150), np.zeros(150)
    for path in sorted((root / "images/validation").iterdir()):
        pixels = np.asarray(Image.open(path)).astype(np.float64) / 255
        truth = np.asarray(Image.open(root / f"annotations/validation/{path.stem}.png")).astype(int)
        factor = shorter / min(truth.shape)
        height, width = (int(side * factor + 0.5) for side in truth.shape)
        image = enlarged(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1), height, width)
        with torch.no_grad():
            logits = model(torch.tensor(image[None], dtype=torch.float32))[0].double().numpy()
        said = enlarged(enlarged(logits, height, width), *truth.shape).argmax(0) + 1
        for number in range(1, 151):
            is_said, is_it = (said == number) & (truth > 0), truth == number
            both[number - 1] += (is_said & is_it).sum()
            either[number - 1] += (is_said | is_it).sum()
    return float((both[either > 0] / either[either > 0]).mean())


class Blurry(nn.Module):
    """Says any of 150 classes, whichever is likeliest by weights that are random."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 150, 7, stride=4, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


def test_images_of_any_shape_score_as_the_definition_says(tmp_path):
    draw = np.random.default_rng(3)
    sizes = [(70, 93), (40, 31), (64, 64)]
    scenes = []
    for number, size in enumerate(sizes):
        coarse = Image.fromarray(draw.integers(0, 151, (5, 4), dtype=np.uint8))
        classes = np.asarray(coarse.resize(size[::-1], Image.Resampling.NEAREST))
        scenes.append((made.picture(number, *size), classes))
    root, model = made.ade20k(tmp_path, scenes), Blurry()
    known = by_definition(model, root, 48)
    found = evaluated(root, model, scale=ImageScale(shorter=48, longest=999)).metrics["ade20k_miou"]
    assert 0 < known < 0.5
    assert found == pytest.approx(known, rel=2e-3)  # where two logits are the same in float32


def test_what_is_likely_is_scored_where_the_annotation_has_a_class(tmp_path):
    """What nobody has annotated is neither right nor wrong: 0, and 255 as some tools write it."""
    classes = stripes()
    annotated = classes + 1
    annotated[:, :60], annotated[:10] = 0, 255
    root = made.ade20k(tmp_path, [(COLOURS[classes].astype(np.uint8), annotated)])
    assert evaluated(root, ByColour()).metrics == {"ade20k_miou": 1.0}


def test_padding_changes_nothing_for_a_network_that_looks_at_squares(tmp_path):
    shape = (64, 116)
    scene = COLOURS[stripes()[:, :116]].astype(np.uint8), stripes()[:, :116] + 1
    root = made.ade20k(tmp_path, [scene])
    seen: list[tuple[int, ...]] = []
    model = ByColour()
    model.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    whole, padded = (evaluated(root, model, divisor=divisor).metrics for divisor in (1, 32))
    assert seen == [shape, (64, 128)]
    assert whole == padded == {"ade20k_miou": 1.0}


def test_what_cannot_be_read_is_named_and_costs_nothing_else(tmp_path):
    classes = stripes()
    scene = COLOURS[classes].astype(np.uint8), classes + 1
    root = made.ade20k(tmp_path, [scene] * 7)
    images, annotations = (root / kind / "validation" for kind in ("images", "annotations"))
    (images / "ADE_val_00000001.jpg").write_bytes(b"no image")
    (annotations / "ADE_val_00000002.png").write_bytes(b"none either")
    Image.new("RGB", (128, 64)).save(annotations / "ADE_val_00000003.png")
    Image.fromarray(np.full((64, 128), 151, dtype=np.uint8)).save(annotations / "ADE_val_00000004.png")
    Image.fromarray(np.ones((128, 64), dtype=np.uint8)).save(annotations / "ADE_val_00000005.png")
    (annotations / "ADE_val_00000006.png").unlink()
    found = evaluated(root, ByColour())
    assert found.metrics == {"ade20k_miou": 1.0}
    for said in (
        "of 1 image, not the 2,000 of ADE20K's validation set",
        "without what has no image or no annotation: images/validation/ADE_val_00000006.jpg",
        "without 4 images whose annotation does not do: ",
        "ADE_val_00000002.png cannot be read",
        "ADE_val_00000003.png is of mode RGB; a grey image is needed",
        "ADE_val_00000004.png has class 151; ADE20K's are 1 to 150",
        "ADE_val_00000005.jpg is 64x128 pixels, its annotation 128x64; fetch both again",
        f"without 1 image that cannot be read: {images / 'ADE_val_00000001.jpg'}",
    ):
        assert said in found.remark


def test_annotations_as_palettes_and_of_16_bits_hold_the_same_numbers(tmp_path):
    classes = (stripes() + 1).astype(np.uint8)
    palette = Image.fromarray(classes).convert("P")
    palette.putdata(classes.ravel().tolist())
    palette.save(tmp_path / "p.png")
    Image.fromarray(classes.astype(np.uint16)).save(tmp_path / "wide.png")
    for name in ("p.png", "wide.png"):
        assert (ade20k.labels(tmp_path / name) == stripes()).all()


def test_nothing_left_and_logits_that_are_no_numbers_are_errors(tmp_path):
    root = made.ade20k(tmp_path / "none", [(made.picture(0, 64, 64), np.zeros((64, 64)))])
    with pytest.raises(DataError, match="no pixel with a class is left to evaluate"):
        evaluated(root, ByColour())
    broken = ByColour()
    broken.conv.bias.data[2] = float("nan")
    root = made.ade20k(tmp_path / "nan", [(made.picture(0, 64, 64), np.ones((64, 64)))])
    with pytest.raises(FloatingPointError, match="logits are infinite or not numbers"):
        evaluated(root, broken)


def test_the_archive_is_found_at_its_folder_and_beside_it(tmp_path):
    root = made.ade20k(tmp_path / "ADEChallengeData2016", [(made.picture(0, 8, 8), np.ones((8, 8)))])
    assert ade20k.find(str(tmp_path)) == ade20k.find(str(root))


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("", "no folder ''; give ade20k:PATH with ADEChallengeData2016, as it is unpacked, at PATH"),
        ("absent", "no folder"),
        ("empty", "has no folder images/validation; give ade20k:PATH"),
        ("apart", "no image of images/validation has one of its name in annotations/validation"),
    ],
)
def test_a_folder_that_is_laid_out_otherwise_is_refused(tmp_path, monkeypatch, folder, said):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    made.ade20k(Path("apart"), [(made.picture(0, 8, 8), np.ones((8, 8)))])
    next(Path("apart/annotations/validation").iterdir()).rename("apart/annotations/validation/other.png")
    with pytest.raises(DataError, match=said):
        ade20k.find(folder)
