"""Data sets by name: what is there, what is said when it is not, and batches that one seed decides."""

from __future__ import annotations

import io
import json
import pickle
import random
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from attnbench.accuracy.data import datasets, splits
from attnbench.accuracy.data.splits import Files
from attnbench.errors import DataError

# timm leaves it to the garbage collector to close the images it reads.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

CLASSES = ("cat", "dog", "eel")


def write_folder(root, *, train="train", held_out="val", classes=CLASSES, images=2):
    """Folders of classes with images of one colour each, in RGB, grey and with transparency."""
    for split in (train, held_out):
        for number, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i, mode in zip(range(images), ("RGB", "L", "RGBA") * images, strict=False):
                colour = {"RGB": (80 * number, 10 * i, 0), "L": 80 * number, "RGBA": (80 * number, 0, 0, 255)}[mode]
                Image.new(mode, (20 + i, 16), colour).save(folder / f"{i}.png")
    return f"folder:{root}"


def write_cifar10(root):
    """Ten random images in the files that torchvision reads CIFAR-10 from."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        images = generator.integers(0, 256, (2, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": [0, 9]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))


def test_digits_are_scikit_learns_with_a_quarter_held_out():
    data = datasets.load("digits")
    batches = [split.batch(range(len(split)), draw=0) for split in (data.train, data.held_out)]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    expected = load_digits()
    assert (data.classes, data.channels, data.height, data.width) == (10, 1, 8, 8)
    assert len(data.held_out) == 450
    rows = sorted(map(tuple, torch.cat([images.flatten(1) * 16, labels[:, None]], 1).tolist()))
    assert rows == sorted(map(tuple, np.column_stack([expected.data, expected.target]).tolist()))


def test_held_out_digits_are_the_same_every_time_and_of_every_class_alike():
    first, second = datasets.load("digits"), datasets.load("digits")
    assert torch.equal(first.held_out.images, second.held_out.images)
    counts = torch.bincount(first.held_out.labels)
    assert counts.max() - counts.min() <= 3


def test_digits_come_in_one_size():
    assert datasets.load("digits", image_size=(8, 8)).height == 8
    with pytest.raises(DataError, match="8 x 8"):
        datasets.load("digits", image_size=(224, 224))


def test_a_draw_decides_how_images_change(tmp_path):
    train = datasets.load(write_folder(tmp_path), image_size=(12, 12)).train
    first = train.batch([1, 4], draw=5)[0]
    torch.rand(1)
    random.random()
    assert torch.equal(train.batch([1, 4], draw=5)[0], first)
    assert not torch.equal(train.batch([1, 4], draw=6)[0], first)


def test_drawing_leaves_the_generators_as_they_were():
    states = torch.get_rng_state(), random.getstate()
    with splits.seeded(5):
        torch.rand(1)
        random.random()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_a_folder_is_read_at_the_size_asked_for_in_colour(tmp_path):
    data = datasets.load(write_folder(tmp_path), image_size=(12, 20))
    images, labels = data.train.batch(range(6), draw=0)
    assert images.shape == (6, 3, 12, 20)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (data.classes, data.channels, data.height, data.width) == (3, 3, 12, 20)


def test_held_out_images_of_a_folder_are_normalised_as_timm_does(tmp_path):
    data = datasets.load(write_folder(tmp_path, images=1), image_size=(8, 8))
    images, labels = data.held_out.batch([0, 1, 2], draw=0)
    red = torch.tensor([0.0, 80.0, 160.0]) / 255
    torch.testing.assert_close(images[:, 0].amax((1, 2)), (red - 0.485) / 0.229)
    assert labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("names", [("train", "validation"), ("training", "valid")])
def test_folders_may_be_named_as_timm_knows_them(tmp_path, names):
    name = write_folder(tmp_path, train=names[0], held_out=names[1])
    datasets.check(name)
    data = datasets.load(name)
    assert (len(data.train), len(data.held_out)) == (6, 6)
    assert (data.height, data.width) == (224, 224)


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_folder_without_both_splits_is_refused(tmp_path, missing):
    name = write_folder(tmp_path, **{{"train": "train", "val": "held_out"}[missing]: "elsewhere"})
    with pytest.raises(DataError, match=missing):
        datasets.check(name)


def test_a_folder_whose_splits_disagree_about_the_classes_is_refused(tmp_path):
    name = write_folder(tmp_path)
    (tmp_path / "val" / "fox").mkdir()
    with pytest.raises(DataError, match="fox"):
        datasets.check(name)


def test_a_folder_without_classes_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="class"):
        datasets.check(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("digit", "digits"),
        ("imagenet", "folder:PATH"),
        ("folder:", "folder:PATH"),
        ("folder:/no/such/folder", "folder:PATH"),
        ("torch/", "torch/NAME"),
        ("torch/cifar10:/no/such/folder", "ROOT"),
        ("torch/no_such_set:/tmp", "no_such_set"),
        ("hfds/some/set", "pip install datasets"),
        ("wds/some-set:/tmp", "pip install webdataset"),
    ],
)
def test_what_is_not_there_is_refused_with_what_would_do(name, advice, monkeypatch):
    monkeypatch.setattr(
        "attnbench.accuracy.data.sources.find_spec",
        lambda module: None if module in {"datasets", "webdataset"} else object(),
    )
    with pytest.raises(DataError, match=advice):
        datasets.check(name)
    with pytest.raises(DataError, match=advice):
        datasets.load(name)


@pytest.fixture
def hugging_face(tmp_path, monkeypatch):
    """Stand-in for a library that the tests do not need installed: a cache, and a set with the splits it is given."""
    library = SimpleNamespace(config=SimpleNamespace(HF_DATASETS_CACHE=str(tmp_path)), splits=["train", "test"])
    library.load_dataset_builder = lambda name, cache_dir: SimpleNamespace(info=library)
    monkeypatch.setitem(sys.modules, "datasets", library)
    monkeypatch.setattr("attnbench.accuracy.data.sources.find_spec", lambda module: object())
    return library


def test_a_hugging_face_set_is_there_if_the_cache_has_it(hugging_face, tmp_path):
    with pytest.raises(DataError, match="load_dataset"):
        datasets.check("hfds/some-one/Tiny_Set")
    (tmp_path / "some-one___tiny_set").mkdir()
    datasets.check("hfds/some-one/Tiny_Set")
    with pytest.raises(DataError, match="other"):
        datasets.check(f"hfds/other:{tmp_path}")


def test_a_hugging_face_set_is_held_out_on_test_where_it_has_no_validation(hugging_face, tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    asked = []

    class Reader(list):
        """Two images as Hugging Face keeps them, one of them damaged."""

        class_to_idx = {"a": 0, "b": 1}  # noqa: RUF012

        def __init__(self):
            file = io.BytesIO()
            Image.new("L", (6, 6), 255).save(file, "PNG")
            super().__init__([file.getvalue(), file.getvalue()[:40]])

        def __getitem__(self, index):
            return io.BytesIO(super().__getitem__(index)), 1

    def create(name, *, root, split):
        asked.append((name, split))
        return SimpleNamespace(reader=Reader())

    monkeypatch.setattr("timm.data.dataset_factory.create_dataset", create)
    data = datasets.load("hfds/tiny", image_size=(8, 8))
    images, labels = data.held_out.batch([0, 1], draw=0)
    assert (data.classes, images.shape, labels.tolist()) == (2, (1, 3, 8, 8), [1])
    assert data.remark == "held-out images: without 1 image that cannot be read: image 1 of hfds/tiny, test"
    assert asked == [("hfds/tiny", "train"), ("hfds/tiny", "test")]
    hugging_face.splits = ["train"]
    with pytest.raises(DataError, match="held out"):
        datasets.load("hfds/tiny")


def test_digits_are_always_there():
    datasets.check("digits")


def test_torchvision_sets_are_read_through_timm(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    monkeypatch.setattr("torchvision.datasets.CIFAR10._check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    name = f"torch/cifar10:{tmp_path}"
    datasets.check(name)
    data = datasets.load(name, image_size=(32, 32))
    images, labels = data.held_out.batch([0, 1], draw=0)
    assert (len(data.train), len(data.held_out), data.classes) == (10, 2, 10)
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == [0, 9]


def test_reading_a_small_set_is_worth_no_process():
    assert Files(range(10), spare_cores=7).processes == 0
    assert Files(range(20_000), spare_cores=7).processes == 7


def test_torchvisions_folders_are_read_as_folders_are(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "val" / "cat" / "1.png").write_bytes(b"no image")
    data = datasets.load(f"torch/image_folder:{tmp_path}", image_size=(8, 8))
    assert data.held_out.batch(range(6), draw=0)[1].tolist() == [0, 1, 1, 2, 2]
    assert data.remark.endswith("val/cat/1.png")


def write_shard(path, samples):
    with tarfile.open(path, "w") as archive:
        for name, content in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_shards(root, *, split="validation", label=b"2"):
    file = io.BytesIO()
    Image.new("RGB", (6, 6), (255, 0, 0)).save(file, "PNG")
    png = file.getvalue()
    write_shard(
        root / "train-0.tar", {"a/0.jpg": png, "a/0.cls": b"0", "a/0.json": b"{}", "a/1.png": png, "a/1.cls": b"1\n"}
    )
    write_shard(root / "held-0.tar", {"0.cls": b"1", "0.png": png})
    write_shard(root / "held-1.tar", {"0.png": png[:40], "0.cls": b"0", "1.webp": png, "1.cls": label})
    splits = {
        name: {"name": name, "num_samples": 2, "filenames": shards, "shard_lengths": [1] * len(shards)}
        for name, shards in {"train": ["train-0.tar"], split: ["held-0.tar", "held-1.tar"]}.items()
    }
    (root / "_info.json").write_text(json.dumps({"splits": splits}))
    return f"wds/tiny:{root}"


@pytest.fixture
def shards(monkeypatch):
    """What timm makes of ``_info.json``, where webdataset need not be installed."""

    def create(name, *, root, split):
        assert name == "wds/tiny"
        splits = json.loads((Path(root) / "_info.json").read_text())["splits"]
        if split not in splits:
            raise RuntimeError(split)
        return SimpleNamespace(reader=SimpleNamespace(split_info=SimpleNamespace(filenames=splits[split]["filenames"])))

    if find_spec("webdataset") is None:
        monkeypatch.setattr("attnbench.accuracy.data.sources.find_spec", lambda module: object())
        monkeypatch.setattr("timm.data.dataset_factory.create_dataset", create)


@pytest.mark.usefixtures("shards")
def test_shards_are_read_where_images_lie_in_them(tmp_path):
    data = datasets.load(write_shards(tmp_path), image_size=(8, 8))
    images, labels = data.held_out.batch([2, 0, 1], draw=0)
    assert (len(data.train), len(data.held_out), data.classes) == (2, 3, 3)
    assert labels.tolist() == [2, 1]
    torch.testing.assert_close(images[:, 0].amax((1, 2)), torch.full((2,), (1 - 0.485) / 0.229))
    assert data.remark == f"held-out images: without 1 image that cannot be read: 0.png in {tmp_path}/held-1.tar"
    assert data.train.batch([0, 1], draw=0)[1].tolist() == [0, 1]


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"split": "other"}, "has none of the splits validation, val"),
        ({"label": b"cat"}, r"held-1.tar: 1 has no label, a whole number from 0 in 1\.cls"),
        ("held-1.tar", "no file .*held-1.tar"),
        ("_info.json", r"give wds/tiny:FOLDER with _info\.json"),
        ("damaged", "train-0.tar cannot be read as a shard"),
    ],
)
def test_shards_that_are_not_whole_are_named(tmp_path, damage, said):
    name = write_shards(tmp_path, **(damage if isinstance(damage, dict) else {}))
    if damage == "damaged":
        (tmp_path / "train-0.tar").write_bytes(b"no archive" * 99)
    elif isinstance(damage, str):
        (tmp_path / damage).unlink()
    with pytest.raises(DataError, match=said):
        datasets.load(name, image_size=(8, 8))
