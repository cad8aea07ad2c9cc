"""Images of folders: read as what they are or refused by name, no link followed in circles, no pipe opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attnbench.accuracy.data import folders
from attnbench.accuracy.data.images import Photos, in_colour
from attnbench.accuracy.data.sources import Folder
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
