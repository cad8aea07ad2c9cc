"""The table of recipes: what its rows say is what their sources print, and can be made of timm's ingredients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from attnbench.accuracy.data.splits import seeded
from attnbench.accuracy.recipes import ingredients, table
from attnbench.accuracy.recipes.table import RECIPES
from attnbench.mechanism import Site
from attnbench.mechanisms.swin import ShiftedWindowAttention

SPARED_IN_SWIN = {"table", "norm.weight", "norm.bias", "qkv.bias", "proj.bias"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_transforms_are_timms(name: str) -> None:
    transform = ingredients.transform(RECIPES[name], {"input_size": (3, 32, 32), "interpolation": "bicubic"})
    assert transform(Image.new("RGB", (50, 40), "white")).shape == (3, 32, 32)


@pytest.mark.parametrize("magnitude", [0, 9, 10])
def test_whatever_magnitude_is_drawn_is_taken(magnitude: int) -> None:
    recipe = replace(RECIPES["deit"], augmentation=f"rand-m{magnitude}-n4-inc1", erased=1.0)
    transform = ingredients.transform(recipe, {"input_size": (3, 8, 8)})
    for draw in range(30):
        with seeded(draw):
            assert transform(Image.new("RGB", (9, 9), "white")).isfinite().all()


@pytest.mark.parametrize(("name", "rate"), [("deit", 1e-3), ("swin", 1e-3), ("short", 8e-3 / 2**0.5)])
def test_the_rate_is_what_is_printed_at_the_batch_that_it_is_printed_for(name: str, rate: float) -> None:
    assert RECIPES[name].rate_at(1024) == pytest.approx(rate)
    assert RECIPES["deit"].rate_at(256) == pytest.approx(5e-4 * 256 / 512)  # as DeiT's main.py scales it


@pytest.mark.parametrize("name", RECIPES)
def test_the_rate_rises_over_the_same_part_of_a_training_then_falls_to_the_last(name: str) -> None:
    recipe = RECIPES[name]
    optimiser = ingredients.optimiser(nn.Linear(2, 2), recipe, batch=recipe.rate_batch)
    schedule = ingredients.schedule(optimiser, recipe, epochs=recipe.epochs // 5, steps=10)
    rates = []
    for step in range(2 * recipe.epochs):
        schedule.step_update(step)
        rates.append(optimiser.param_groups[0]["lr"])
    top = rates.index(max(rates))
    assert top == round(2 * recipe.warmup_epochs)
    assert rates[0] == pytest.approx(recipe.rate_before)
    assert max(rates) == pytest.approx(recipe.rate, rel=0.02)
    assert rates[-1] == pytest.approx(recipe.rate_after, rel=0.2, abs=1e-3 * recipe.rate)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_what_a_model_or_a_mechanism_keeps_from_decaying_does_not() -> None:
    class Named(nn.Linear):
        def no_weight_decay(self) -> set[str]:
            return {"weight"}

    recipe = RECIPES["deit"]
    for model, spared in (
        (Named(2, 2), {"weight", "bias"}),
        (nn.Linear(2, 2), {"bias"}),
        (ShiftedWindowAttention(Site(height=7, width=7, dim=8, heads=2)), SPARED_IN_SWIN),
    ):
        names = {id(each): name for name, each in model.named_parameters()}
        groups = ingredients.optimiser(model, recipe, batch=64).param_groups
        kept = {names[id(each)] for group in groups if not group["weight_decay"] for each in group["params"]}
        assert sum(len(group["params"]) for group in groups) == len(names)
        assert kept == spared


def test_an_odd_batch_is_mixed_without_its_last_and_one_image_with_itself() -> None:
    mix = ingredients.mixing(RECIPES["deit"], 3)
    for count, expected in ((5, 4), (4, 4), (1, 2)):
        images, wanted = ingredients.mixed(mix, torch.rand(count, 3, 8, 8), torch.zeros(count, dtype=torch.long))
        assert (images.shape, wanted.shape) == ((expected, 3, 8, 8), (expected, 3))
        assert torch.allclose(wanted.sum(1), torch.ones(expected), atol=1e-5)


def test_the_binary_loss_asks_each_class_by_itself() -> None:
    logits, wanted = torch.zeros(2, 4), torch.eye(4)[:2]
    assert ingredients.loss(RECIPES["short"], logits, wanted).item() == pytest.approx(torch.log(torch.tensor(2.0)))
    assert ingredients.loss(RECIPES["deit"], logits, wanted).item() == pytest.approx(torch.log(torch.tensor(4.0)))


@pytest.mark.parametrize(
    ("name", "dataset", "said"),
    [
        ("", "digits", ""),
        ("deit", "folder:x", ""),
        ("diet", "folder:x", "--recipe diet: did you mean deit?"),
        (
            "deit",
            "digits",
            "--recipe deit: recipes are for images in folders and the like; give --accuracy folder:PATH",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(name: str, dataset: str, said: str) -> None:
    assert table.wrong(name, dataset) == said
