"""Training by a recipe: interrupted and gone on with, it comes to the same weights; what it keeps others read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from attnbench import files
from attnbench.accuracy.data import datasets
from attnbench.accuracy.recipes import ingredients, training
from attnbench.accuracy.recipes.models import of_mechanism, of_network
from attnbench.accuracy.recipes.table import RECIPES, PublishedRecipe
from attnbench.accuracy.recipes.training import Course, fit
from attnbench.mechanisms.mhsa import MHSA
from attnbench.models import checkpoint
from attnbench.models.tensors import read

EPOCHS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageNet-style folder: dark and light noise, one image cut short."""
    root, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 9), ("val", 4)):
        for name, low in (("dark", 0), ("light", 160)):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(low, low + 90, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    short = root / "train" / "dark" / "0.png"
    short.write_bytes(short.read_bytes()[:200])
    return root


def course(images: Path, kept: Path, recipe: PublishedRecipe = RECIPES["deit"], epochs: int = EPOCHS) -> Course:
    data = datasets.load(f"folder:{images}", image_size=(16, 16), training=partial(ingredients.transform, recipe))
    return Course(name="deit", recipe=recipe, data=replace(data, batch=6), epochs=epochs, folder=kept)


class Small(nn.Sequential):
    """A network with all that has a state of its own: running means, dropout, weights."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * 14 * 14, 2)
        )


def fitted(asked: Course, *, alive: training.Alive = lambda _: None, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return fit(Small(), asked, seed=seed, alive=alive).state_dict()


class StopError(Exception):
    """The run is left."""


@pytest.mark.parametrize(("name", "after"), [("deit", 1), ("swin", 2), ("short", 1)])
def test_a_training_that_is_left_goes_on_to_the_same_weights(
    name: str, after: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(course(folder, tmp_path / "whole", RECIPES[name]))

    left, kept = course(folder, tmp_path / "left", RECIPES[name]), training.Training.keep

    def keep(self: training.Training, path: Path, *, epoch: int, asked: str, labels: dict[str, int]) -> None:
        kept(self, path, epoch=epoch, asked=asked, labels=labels)
        if epoch == after:
            raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(training.Training, "keep", keep)
        with pytest.raises(StopError):
            fitted(left)
    torch.rand(3), np.random.rand(3)  # what others draw meanwhile is nothing to it
    found = fitted(left)
    assert left.remarks == [f"seed 0 went on after epoch {after} of {EPOCHS}"]
    assert whole.keys() == found.keys()
    assert all(torch.equal(whole[each], found[each]) for each in whole)
    assert not torch.equal(
        whole["4.weight"], fitted(course(folder, tmp_path / "other", RECIPES[name]), seed=1)["4.weight"]
    )


def test_a_training_that_is_over_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    first = fitted(course(folder, tmp_path))
    told: list[float] = []
    again = course(folder, tmp_path)
    found = fitted(again, alive=told.append)
    assert all(torch.equal(first[each], found[each]) for each in first)
    assert (told, again.remarks) == ([], [])


def test_the_average_lags_behind_the_weights_and_both_are_kept(folder: Path, tmp_path: Path) -> None:
    average = fitted(course(folder, tmp_path))
    state = torch.load(tmp_path / "seed-0.pth", weights_only=True)
    assert (state["epoch"], state["class_to_idx"]) == (EPOCHS, {"dark": 0, "light": 1})
    assert torch.equal(state["state_dict_ema"]["4.weight"], average["4.weight"])
    assert not torch.equal(state["state_dict"]["4.weight"], average["4.weight"])
    assert torch.equal(read(tmp_path / "seed-0.pth")["4.weight"], average["4.weight"])  # which is what is evaluated


@pytest.mark.parametrize("damage", ["cut short", "other data", "no tensors"])
def test_a_checkpoint_that_cannot_be_gone_on_from_costs_its_epochs_and_is_named(
    damage: str, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "seed-0.pth"
    fitted(course(folder, tmp_path, epochs=1))
    if damage != "other data":
        path.write_bytes(path.read_bytes()[:300] if damage == "cut short" else b"no checkpoint")
    asked = course(folder, tmp_path, epochs=2 if damage == "other data" else 1)
    fitted(asked)
    (said,) = asked.remarks
    assert said.startswith(f"seed 0 began anew: {path} ")


def test_a_disk_that_is_full_costs_the_checkpoints_and_not_the_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "put", full)
    found = training.train(Small, course(folder, tmp_path), seeds=[0], alive=lambda _: None)
    assert found.remark.count("checkpoints could not be kept: No space left on device") == 1


def test_what_is_scored_says_how_it_went(folder: Path, tmp_path: Path) -> None:
    told: list[float] = []

    class Unlucky(Small):
        def __init__(self) -> None:
            super().__init__()
            if torch.initial_seed() == 1:
                raise RuntimeError("no luck")

    state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    found = training.train(Unlucky, course(folder, tmp_path), seeds=[0, 1], alive=told.append)
    assert (found.kind, found.epochs, len(found.per_seed)) == ("recipe deit", EPOCHS, 1)
    assert "training: without 1 image that cannot be read" in found.remark
    assert "seed 1 failed: RuntimeError: no luck" in found.remark
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]
    with pytest.raises(RuntimeError, match="no luck"):
        training.train(Unlucky, course(folder, tmp_path), seeds=[1], alive=told.append)


def test_a_network_learns_and_its_checkpoint_is_evaluated_by_timm_and_here(folder: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPES["swin"], rate=0.5, augmentation="", erased=0.0, mixup=0.1, cutmix=0.0)
    asked = course(folder, tmp_path, recipe, epochs=8)
    build = of_network("test_resnet", {"backend": "sdpa"}, asked.data, recipe)
    found = training.train(build, asked, seeds=[0], alive=lambda _: None)
    assert found.top1 == 1.0
    model = timm.create_model("test_resnet", num_classes=2, checkpoint_path=str(tmp_path / "seed-0.pth"))
    again = timm.create_model("test_resnet", num_classes=2)
    checkpoint.load(tmp_path / "seed-0.pth", again, network="test_resnet")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_networks_have_the_recipes_drop_path_where_they_take_one(folder: Path, tmp_path: Path) -> None:
    data = course(folder, tmp_path).data
    for options, rate in (({}, 0.2), ({"drop_path_rate": 0.4}, 0.4)):
        model = of_network("convnext_atto", options, data, RECIPES["swin"])()
        rates = [each.drop_prob for each in model.modules() if hasattr(each, "drop_prob")]
        assert max(rates) == pytest.approx(rate)
        assert model.num_classes == 2
    assert of_network("vgg11", {}, data, RECIPES["swin"])


def test_a_mechanisms_backbone_starts_from_its_seed(folder: Path, tmp_path: Path) -> None:
    build = of_mechanism(MHSA, course(folder, tmp_path).data)
    weights = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        weights.append(build().state_dict()["head.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
