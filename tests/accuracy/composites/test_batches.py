"""Batches of composites: from garments and photographs that are apart, and the same for everybody."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest
import torch
from made_garments import composites

from attnbench.accuracy.composites import batches, photographs, table
from attnbench.accuracy.data import datasets, fashion
from attnbench.errors import DataError
from attnbench.models.dense import DenseTask

HAS_GARMENTS = fashion.FOLDER.is_dir()


def test_every_step_has_composites_of_its_own_and_every_training_the_same():
    data = composites()
    first, again, later = data.training(0, 0), data.training(0, 0), data.training(0, 1)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, later.images)
    assert not torch.equal(first.images, data.training(1, 0).images)
    assert first.images.shape == (2, 3, 64, 64)


def test_labels_are_those_of_the_images_that_they_are_given_with():
    batch = composites().training(0, 3)
    for image, labels, composite in zip(batch.images, batch.labels, batch.composites, strict=True):
        seen = torch.from_numpy(composite.image).permute(2, 0, 1) / 255
        assert torch.allclose(image * 0.27 + 0.45, seen, atol=1e-6)
        assert labels.numpy().tolist() == composite.labels.tolist()


def test_everybody_is_examined_with_the_same_images_and_as_many_as_is_said():
    data = composites(batch=3, examined=7)
    shown = list(data.examining())
    assert [len(each.composites) for each in shown] == [3, 3, 1]
    assert torch.equal(shown[1].images, list(data.examining())[1].images)


def test_nothing_that_networks_are_examined_with_was_trained_on():
    assert not set(photographs.TRAINED_ON) & set(photographs.HELD_OUT)
    assert len({*photographs.TRAINED_ON, *photographs.HELD_OUT}) == 20
    trained_on, held_out = (
        {each.tobytes() for each in photographs.load(names)} for names in (photographs.TRAINED_ON, photographs.HELD_OUT)
    )
    assert len(trained_on) == 15
    assert not trained_on & held_out


@pytest.mark.skipif(not HAS_GARMENTS, reason="Debian's dataset-fashion-mnist is not installed")
def test_garments_are_split_as_fashion_mnist_is():
    data, theirs = batches.load("composite-segmentation", height=128, width=160), datasets.load("fashion-mnist")
    for ours, split in ((data.train, theirs.train), (data.held_out, theirs.held_out)):
        assert (ours.garments[::997] == (split.images[::997, 0] * 255).round().numpy()).all()
        assert ours.kinds.tolist() == split.labels.tolist()
    batch = data.training(0, 0)
    assert batch.images.shape == (8, 3, 128, 160)
    assert abs(float(batch.images.mean())) < 1
    assert max(len(each.kinds) for each in batch.composites) > 1


def test_a_package_that_is_not_there_is_said_with_what_installs_it(monkeypatch, tmp_path):
    said = "has no train-images-idx3-ubyte.gz; install Debian's package dataset-fashion-mnist, or give "
    with pytest.raises(DataError, match=re.escape(f"{said}composite-segmentation:FOLDER")):
        datasets.check(f"composite-segmentation:{tmp_path}")
    monkeypatch.setattr(fashion, "check", lambda *_, **__: None)
    known = importlib.util.find_spec
    for module in (batches, photographs):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == "skimage" else known(name))
    with pytest.raises(DataError, match=re.escape("scikit-image's photographs: pip install 'attnbench[composites]'")):
        datasets.check("composite-segmentation")
    monkeypatch.setattr(photographs, "find_spec", known)
    monkeypatch.setattr(batches, "find_spec", lambda name: None if name == "pycocotools" else known(name))
    datasets.check("composite-segmentation")
    with pytest.raises(DataError, match=re.escape("scored by pycocotools: pip install 'attnbench[composites]'")):
        datasets.check("composite-detection")


def test_composites_are_told_from_other_data_sets_and_have_sizes():
    assert table.heads("composite-segmentation:~/data") == (DenseTask.SEGMENTATION,)
    assert table.heads("digits") == ()
    assert [table.fits(*size) for size in ((128, 512), (127, 256), (256, 513))] == [True, False, False]


def test_photographs_are_in_colour_and_large_enough_to_be_cropped():
    for each in photographs.load(photographs.HELD_OUT):
        assert each.dtype == np.uint8
        assert each.shape[2] == 3
        assert min(each.shape[:2]) >= 100
