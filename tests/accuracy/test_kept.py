"""Trainings that are left and gone on with come to the weights, and so to the scores, of those that are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_garments import composites
from torch import Tensor, nn

from attnbench import files
from attnbench.accuracy import proxy
from attnbench.accuracy.composites import bodies
from attnbench.accuracy.composites import learning as heads
from attnbench.accuracy.composites.segmentation import TrainedSemanticFPN
from attnbench.accuracy.data import datasets
from attnbench.accuracy.kept import Keeper, KeptTraining, Parts
from attnbench.accuracy.tasks import learning as tasks
from attnbench.accuracy.tasks import table
from attnbench.mechanism import Map, Mechanism, Site
from attnbench.models.pyramid import Pyramid

EPOCHS = 3


class Draws(Mechanism):
    """A layer that draws random numbers in training."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.linear = nn.Linear(site.dim, site.dim)

    def forward(self, x: Map) -> Map:
        drawn: Tensor = nn.functional.dropout(self.linear(x), 0.2, self.training)
        return drawn


class LeftError(BaseException):
    """The run is left: no failure of a seed."""


def on_digits(keeper: Keeper) -> object:
    data = datasets.load("digits")
    return proxy.train(Draws, data, seeds=[0, 1], epochs=EPOCHS, keeper=keeper)


def on_a_task(keeper: Keeper) -> object:
    return tasks.learn(Draws, table.read("shift:offset=1"), seeds=[0, 1], epochs=EPOCHS, keeper=keeper)


def on_composites(keeper: Keeper) -> object:
    body = bodies.of_mechanism(Draws, height=64, width=64)
    return heads.learn(body, TrainedSemanticFPN, composites(), seeds=[0, 1], epochs=EPOCHS, keeper=keeper)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Pyramid(dims=(16, 16, 32, 32), depths=(1, 1, 1, 1), heads=(1, 1, 2, 2))
    monkeypatch.setattr(bodies, "PYRAMID", small)
    for module in (heads, tasks):
        monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(tasks, "HELD_OUT", 16)


def leave_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run be left once so many epochs are kept, those of all trainings together."""
    keep, left = KeptTraining.keep, [epochs]

    def counted(self: KeptTraining, parts: Parts, *, epoch: int) -> None:
        keep(self, parts, epoch=epoch)
        left[0] -= 1
        if not left[0]:
            raise LeftError

    monkeypatch.setattr(KeptTraining, "keep", counted)


@pytest.mark.parametrize("train", [on_digits, on_a_task, on_composites])
def test_what_is_left_goes_on_to_the_same_scores(
    train: Callable[[Keeper], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(Keeper())
    with monkeypatch.context() as patched:
        leave_after(EPOCHS + 2, patched)
        with pytest.raises(LeftError):
            train(Keeper(folder=tmp_path / "kept", every_s=0.0))
    torch.rand(3)  # what others draw meanwhile is nothing to it
    again = Keeper(folder=tmp_path / "kept", every_s=0.0)
    found = train(again)
    assert "seed-1" in again.remarks[-1]
    assert again.remarks[-1].endswith("went on after epoch 2")
    said = "remark" if isinstance(found, proxy.Accuracy) else "remarks"
    assert replace(found, **{said: getattr(whole, said)}) == whole  # type: ignore[type-var]
    again.forget()
    assert not (tmp_path / "kept").exists()


def training(folder: Path) -> tuple[KeptTraining, dict[str, nn.Module]]:
    torch.manual_seed(0)
    return Keeper(folder=folder, every_s=0.0).training("seed-0", asked="this"), {"model": nn.Linear(2, 2)}


@pytest.mark.parametrize("damage", ["cut short", "of another model"])
def test_what_cannot_be_gone_on_from_is_begun_anew_from_the_weights_that_were_there(
    tmp_path: Path, damage: str
) -> None:
    kept, parts = training(tmp_path)
    kept.keep(parts, epoch=1)
    (path,) = tmp_path.iterdir()
    other = {"model": nn.Linear(2, 2), "optimizer": nn.Linear(2, 2)} if damage == "of another model" else parts
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:100])
    before = {name: part.weight.clone() for name, part in other.items()}
    assert kept.take_up(other) == 0
    assert "seed-0 began anew: seed-0.training cannot be read" in kept.keeper.remarks[0]
    assert all(torch.equal(part.weight, before[name]) for name, part in other.items())


def test_what_is_kept_of_another_training_is_not_gone_on_from(tmp_path: Path) -> None:
    kept, parts = training(tmp_path)
    kept.keep(parts, epoch=1)
    assert replace(kept, asked="another").take_up(parts) == 0
    assert kept.take_up(parts) == 1


def test_a_short_training_writes_nothing(tmp_path: Path) -> None:
    kept, parts = training(tmp_path)
    kept.keeper.every_s = 3600.0
    kept.keep(parts, epoch=1)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_costs_what_is_kept_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files, "put", full)
    kept, parts = training(tmp_path)
    for epoch in (1, 2):
        kept.keep(parts, epoch=epoch)
    assert kept.keeper.remarks == ["trainings could not be kept: No space left on device"]
