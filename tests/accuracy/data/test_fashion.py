"""Fashion-MNIST from its own files: read as it is, and what is said where it is not there."""

import re
import struct

import pytest
import torch
from garment_files import write_garments

from attnbench.accuracy.data import datasets, fashion
from attnbench.errors import DataError

SPLITS = {"train": 7, "t10k": 5}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data set of a few images in the files of the whole one."""
    monkeypatch.setattr(fashion, "_SPLITS", SPLITS)
    write_garments(tmp_path, SPLITS)
    return tmp_path


def test_it_is_read_as_torchvision_reads_it(folder):
    torchvision = pytest.importorskip("torchvision.datasets.mnist")
    found = datasets.load(f"fashion-mnist:{folder}", image_size=None)
    theirs = torchvision.read_image_file(str(folder / "t10k-images-idx3-ubyte"))
    assert torch.equal((found.held_out.images[:, 0] * 255).round().to(torch.uint8), theirs)
    assert torch.equal(
        found.held_out.labels, torchvision.read_label_file(str(folder / "t10k-labels-idx1-ubyte")).long()
    )
    assert (len(found.train), found.channels, found.height, found.width, found.classes) == (7, 1, 28, 28, 10)
    assert found.train.labels.tolist() == list(range(7))
    assert 0 <= found.train.images.min() < found.train.images.max() <= 1


def test_what_is_not_there_is_said_with_where_it_comes_from(tmp_path):
    said = f"{tmp_path} has no train-images-idx3-ubyte.gz; install Debian's package dataset-fashion-mnist, or give "
    with pytest.raises(DataError, match=re.escape(f"{said}fashion-mnist:FOLDER with the data set's four files")):
        datasets.check(f"fashion-mnist:{tmp_path}")
    assert fashion.folder_of("fashion-mnist") == fashion.FOLDER


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not Fashion-MNIST's: it does not hold 5 bytes"),
        (struct.pack(">2I", 0x801, 6) + bytes(6), "does not hold 5 bytes"),
        (struct.pack(">2I", 0x801, 5) + bytes(4), "does not hold 5 bytes"),
    ],
)
def test_a_file_of_another_kind_is_refused(folder, content, said):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=said):
        datasets.load(f"fashion-mnist:{folder}")


def test_a_file_that_is_cut_short_is_refused(folder):
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read: .*; fetch it again"):
        datasets.load(f"fashion-mnist:{folder}")


@pytest.mark.skipif(not fashion.FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_whole_data_set_has_as_many_of_each_kind():
    found = datasets.load("fashion-mnist")
    assert found.train.labels.bincount().tolist() == [6000] * 10
    assert found.held_out.labels.bincount().tolist() == [1000] * 10
