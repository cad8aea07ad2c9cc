"""Images of folders: read as what they are or refused by name, no link followed in circles, no pipe opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from attnbench.accuracy.data import folders
from attnbench.accuracy.data.images import Photos, in_colour
from attnbench.accuracy.data.sources import Folder
from attnbench.accuracy.data.splits import Files
from attnbench.accuracy.training import InOrder, loader
from attnbench.errors import DataError

GREY = np.full((6, 6), 0.498 * 65535, dtype=np.uint16)


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


def photos(root: Path) -> Photos:
    found = folders.find(root)
    return Photos(found.samples, {name: number for number, name in enumerate(found.classes)}, tensor)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_read_as_the_brightness_that_they_are(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(GREY).save(tmp_path / "a" / "grey.png", format=kind)
    image, _ = photos(tmp_path)[0]
    assert image.shape == (6, 6, 3)
    assert set(np.unique(image)) == {126}


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_without_a_white_are_refused_by_name(dtype: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((6, 6), 0.5).astype(dtype)).save(tmp_path / "a" / "deep.png", format="TIFF")
    with pytest.raises(DataError, match=r"a/deep\.png cannot be read as an image: its pixels are of mode [IF]"):
        photos(tmp_path)[0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_what_has_eight_bits_is_read_in_colour(mode: str) -> None:
    assert in_colour(Image.new(mode, (4, 4))).mode == "RGB"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 99,
        b"P6\n4 4\n255\n12",
        b"P6\n4 -4\n255\n12",
        b"DDS |\0\0\0" + b"\xff" * 120,
        b"\x89PNG\r\n\x1a\n" * 9,
    ],
    ids=range(6),
)
def test_a_damaged_image_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a/b\.png cannot be read as an image: .+; replace or remove it"):
        photos(tmp_path)[0]


def test_links_in_circles_are_not_followed_and_pipes_not_opened(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "one.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(".")
    os.mkfifo(tmp_path / "c" / "pipe.jpg")
    assert len(photos(tmp_path)) == 3


def test_what_cannot_be_read_is_an_error_in_training_and_held_out_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / split / name / "one.png")
        (tmp_path / split / "b" / "two.png").write_bytes(b"no image")
    train, held_out, classes = Folder(str(tmp_path)).open()
    assert classes == 2
    for split in (train, held_out):
        split.transform = tensor
        with pytest.raises(DataError, match=r"b/two\.png cannot be read as an image"):
            [split[index] for index in range(len(split))]


LEFT_WHITE = np.repeat(np.array([[255, 0]], dtype=np.uint8), 8, axis=0).repeat(8, axis=1)


def as_numbers(root: Path) -> Photos:
    found = photos(root)
    found.transform = lambda image: tensor(image).permute(2, 0, 1) / 255
    return found


def one(root: Path, name: str = "a.png") -> tuple[torch.Tensor, str]:
    """Read the only image of a folder, and what is said of it."""
    found = photos(root)
    assert [path.name for path, _ in folders.find(root).samples] == [name]
    return found[0][0], found.remark


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    return tmp_path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_what_lies_turned_is_set_upright_as_exif_says(kind: str, orientation: int, folder: Path) -> None:
    wide = Image.fromarray(np.vstack([LEFT_WHITE, np.zeros_like(LEFT_WHITE)]))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    wide.convert("RGB").save(folder / "a" / "a.png", format=kind, exif=exif, lossless=True)
    expected = ImageOps.exif_transpose(Image.open(folder / "a" / "a.png"))
    image, remark = one(folder)
    assert np.abs(image.numpy().astype(int) - np.asarray(expected.convert("RGB"))).max() < 9
    assert ("set upright by EXIF data" in remark) == (orientation > 1 and kind != "TIFF")


def test_exif_data_that_are_damaged_leave_an_image_as_it_lies(folder: Path) -> None:
    Image.fromarray(LEFT_WHITE).save(
        folder / "a" / "a.png", format="JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff" + b"\xff" * 9
    )
    image, remark = one(folder)
    assert (image.shape, remark) == ((8, 16, 3), "")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_shown(kind: str, folder: Path) -> None:
    frames = [Image.new("L", (6, 6), 255), Image.new("L", (6, 6), 0)]
    frames[0].save(folder / "a" / "a.gif", format=kind, save_all=True, append_images=frames[1:])
    image, remark = one(folder, "a.gif")
    assert image.numpy().min() > 250
    assert remark == "with the first frame of 1 image that have several"


def test_an_image_that_is_cut_short_is_named_and_costs_no_other(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a", "b", "c"):
        Image.fromarray(noise).save(folder / "a" / f"{name}.jpg")
    short = folder / "a" / "b.jpg"
    short.write_bytes(short.read_bytes()[: short.stat().st_size // 2])
    split = Files(as_numbers(folder), spare_cores=0)
    images, labels = split.batch([0, 1, 2], draw=0)
    assert (len(images), len(labels)) == (2, 2)
    assert split.remark == f"without 1 image that cannot be read: {short}"
    assert len(split.batch([1], draw=0)[1]) == 0


def test_large_images_are_read_and_larger_ones_than_pillow_takes_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (150, 100), "white").save(folder / "a" / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # a warning, an error at twice as many
    assert one(folder)[0].shape == (100, 150, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    with pytest.raises(
        DataError, match=r"a\.png cannot be read as an image: Image size \(15000 pixels\) exceeds limit"
    ):
        one(folder)


def test_cmyk_is_the_colour_that_it_is_printed_in(folder: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(folder / "a" / "a.jpg")
    image, _ = one(folder, "a.jpg")
    assert np.abs(image.numpy().astype(int) - [254, 0, 0]).max() < 3


def test_formats_of_telephones_that_pillow_lacks_are_named(folder: Path) -> None:
    Image.new("L", (4, 4)).save(folder / "a" / "a.png")
    (folder / "a" / "b.HEIC").write_bytes(b"ftypheic")
    found = folders.find(folder)
    assert [path.name for path, _ in found.samples] == ["a.png"]
    assert found.remark.endswith("in no format that is read: a/b.HEIC")


def test_what_was_seen_by_processes_that_read_ahead_is_known_here(folder: Path) -> None:
    for name in ("a", "b", "c", "d"):
        Image.new("RGB", (4, 4)).save(folder / "a" / f"{name}.png")
    (folder / "a" / "c.png").write_bytes(b"")

    class Wished(Files):
        processes = 2

    split = Wished(as_numbers(folder), spare_cores=2)
    assert [len(labels) for _, labels in loader(InOrder(split, size=1), split)] == [1, 1, 0, 1]
    assert split.remark.endswith("a/c.png")
