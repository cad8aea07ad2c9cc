"""Images of every mode and format, damaged: each becomes a picture or is refused by its name."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from attnbench.accuracy.data.images import Photos
from attnbench.errors import DataError

pytestmark = fuzzing.LONG
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"]
FORMATS = ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "TGA", "ICO", "SGI", "PCX", "DDS", "JPEG2000"]


@cache
def written() -> dict[str, bytes]:
    """Every mode in every format that has it."""
    found = {}
    for kind in FORMATS:
        for mode in MODES:
            file = io.BytesIO()
            try:
                Image.new(mode, (17, 9)).save(file, format=kind)
            except (OSError, ValueError, KeyError, SystemError):
                continue
            found[f"{kind} {mode}"] = file.getvalue()
    return found


KINDS = st.sampled_from(sorted(written()))
CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255) | st.binary(max_size=6)), max_size=6
)


def tensor(image: Image.Image) -> torch.Tensor:
    assert image.mode == "RGB"
    return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images") / "a.png"


@fuzzing.fuzzed(400)
@given(kind=KINDS, changes=CHANGES)
@example(kind="PNG RGB", changes=[(0.3, b"\xff" * 6)])
@example(kind="GIF P", changes=[(0.9, b"")])
def test_an_image_is_a_picture_or_refused_by_name(
    path: Path, kind: str, changes: list[tuple[float, int | bytes]]
) -> None:
    data = bytearray(written()[kind])
    for where, what in changes:
        at = int(where * len(data))
        data[at:] = bytes([what]) + data[at + 1 :] if isinstance(what, int) else what and what + data[at + len(what) :]
    path.write_bytes(data)
    photos = Photos([(path, "a")], {"a": 0}, tensor)
    with fuzzing.read_or_refused("images"):
        try:
            image, _ = photos[0]
            assert image.shape == (3, 8, 8)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 - it is raised again
            raise


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP"])
def test_the_formats_that_data_sets_come_in_are_among_them(kind: str) -> None:
    assert any(name.startswith(f"{kind} ") for name in written())
