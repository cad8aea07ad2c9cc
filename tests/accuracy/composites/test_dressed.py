"""Fashion-MNIST on photographs: one garment an image, its kind the label, the same for everybody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_garments import supply

from attnbench.accuracy import proxy
from attnbench.accuracy.composites import batches, dressed
from attnbench.accuracy.composites.dressed import DressedPhotographs
from attnbench.accuracy.data import datasets, fashion
from attnbench.mechanisms.mhsa import MHSA
from attnbench.models.pyramid import Pyramid


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Garments that are drawn, one of each kind to train on and to be examined with."""
    monkeypatch.setattr(dressed, "supplies", lambda _: (supply(seed=1), supply(seed=2)))


def split(**how) -> DressedPhotographs:
    return DressedPhotographs(supply(seed=1), 100, **({"height": 64, "width": 96} | how))


def test_an_image_has_one_garment_and_its_kind_as_label():
    images, labels = split().batch([3, 3, 7], draw=5)
    assert images.shape == (3, 3, 64, 96)
    assert labels.tolist() == [3, 3, 7]
    assert torch.equal(images[0], images[1])
    shown = [split()._dressed(3, draw) for draw in range(40)]
    assert {tuple(each.kinds.tolist()) for each in shown} == {(3,)}
    assert all(each.masks[0].sum() > 20 for each in shown)


def test_what_is_seen_of_a_garment_is_as_large_as_is_said():
    """A garment's picture has three quarters of the shorter side at most, and so the box of what is seen."""
    boxes = np.array([split()._dressed(9, draw).boxes[0] for draw in range(60)])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert sides.max() <= 64 * 0.75 * np.sqrt(2) + 1
    assert sides.max() > 2 * sides.min()


def test_the_draw_alone_decides_where_it_lies_and_on_what():
    one, again, other = (split().batch([0, 4], draw=draw)[0] for draw in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    alone = split().batch([4], draw=1)[0]
    assert torch.equal(alone[0], one[1])  # whatever else is in its batch


def test_the_data_set_is_composed_where_a_size_from_64_to_256_is_asked_for(monkeypatch):
    as_it_is = replace(dressed.load("fashion-mnist", height=64, width=64), kind="proxy", height=28, width=28)
    monkeypatch.setattr(fashion, "load", lambda *_, **__: as_it_is)
    for size in (None, (28, 28), (32, 32), (512, 512), (64, 512)):
        assert datasets.load("fashion-mnist", image_size=size) is as_it_is
    for size in ((64, 64), (256, 128)):
        data = datasets.load("fashion-mnist", image_size=size)
        assert (data.height, data.width, data.channels, data.classes) == (*size, 3, 10)
        assert data.kind == f"composed at {size[0]}x{size[1]}"
        assert len(data.train) == len(data.held_out) == 10  # as many garments as there are, for want of more


def test_rows_of_another_size_are_of_another_kind(monkeypatch):
    monkeypatch.setattr(proxy, "FOR_PHOTOS", Pyramid(dims=(16, 16, 16, 16), depths=(1,) * 4, heads=(1,) * 4))
    kinds = []
    for side in (96, 128):
        data = replace(datasets.load("fashion-mnist", image_size=(side, side)), batch=5)
        found = proxy.train(MHSA, data, seeds=[0], epochs=1).to_metrics()
        kinds.append(found["accuracy_kind"])
        assert 0 <= found["accuracy_top1"] <= 1
    assert kinds == ["composed at 96x96", "composed at 128x128"]


@pytest.mark.skipif(not fashion.FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_garments_are_the_first_of_each_split(monkeypatch):
    monkeypatch.setattr(dressed, "supplies", batches.supplies)
    data, theirs = dressed.load("fashion-mnist", height=64, width=64), fashion.load(fashion.FOLDER, name="x")
    assert (len(data.train), len(data.held_out)) == (2560, 1000)
    for ours, whole in ((data.train, theirs.train), (data.held_out, theirs.held_out)):
        assert ours.batch(range(50), draw=0)[1].tolist() == whole.labels[:50].tolist()
