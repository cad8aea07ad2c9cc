"""What a training sees and how fast it learns follow from the seed and the recipe alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attnbench import auxiliary
from attnbench.accuracy.data.splits import Dataset, Pixels
from attnbench.accuracy.training import InOrder, Shuffled, TrainingRecipe, fit, loader, optimiser_groups, score
from attnbench.devices import machine
from attnbench.mechanism import Mechanism, Site


def numbered(count: int) -> Pixels:
    """Images that are their own index."""
    return Pixels(torch.arange(float(count))[:, None, None, None], torch.arange(count) % 2)


def seen(batches) -> list[list[int]]:
    return [images.flatten().int().tolist() for images, _ in batches]


class Wished(Pixels):
    """Images that seven processes are to read."""

    processes = 7


BATCH_NEEDS = 3 * (4 * 3 * 32 * 32 * 4 + 4 * 8)
"""Bytes of three batches of four such images and their labels: two that are ready and one that is made."""


class Drawn(Pixels):
    """Images labelled with the seed that they were drawn with."""

    def batch(self, indices, *, draw):
        return self.images[indices], torch.full((len(indices),), draw)


def test_an_epoch_holds_every_image_once_but_those_of_an_incomplete_batch():
    batches = seen(loader(Shuffled(numbered(11), size=4, epochs=2, seed=0), numbered(11)))
    assert [len(batch) for batch in batches] == [4] * 4
    assert len(set(batches[0] + batches[1])) == 8
    assert batches[:2] != batches[2:]


def test_fewer_images_than_a_batch_make_one():
    assert sorted(seen(loader(Shuffled(numbered(3), size=8, epochs=1, seed=0), numbered(3)))[0]) == [0, 1, 2]


def test_the_order_follows_from_the_seed_whatever_else_is_drawn():
    first = seen(loader(Shuffled(numbered(20), size=5, epochs=3, seed=1), numbered(20)))
    torch.rand(7)
    shuffled = Shuffled(numbered(20), size=5, epochs=3, seed=1)
    assert seen(shuffled[index] for index in range(len(shuffled))) == first
    backwards = seen(shuffled[index] for index in reversed(range(len(shuffled))))
    assert backwards[::-1] == first
    assert seen(loader(Shuffled(numbered(20), size=5, epochs=3, seed=2), numbered(20))) != first


def test_every_batch_is_drawn_with_a_seed_of_its_own():
    split = Drawn(torch.zeros(12, 1, 1, 1), torch.zeros(12, dtype=torch.long))
    draws = {Shuffled(split, size=4, epochs=5, seed=seed)[index][1][0].item() for seed in (0, 1) for index in range(15)}
    assert len(draws) == 30


def test_held_out_images_are_read_once_and_in_order():
    assert seen(loader(InOrder(numbered(5), size=2), numbered(5))) == [[0, 1], [2, 3], [4]]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("free", "processes"),
    [(None, 7), (2**40, 7), (5 * BATCH_NEEDS, 4), (int(4.9 * BATCH_NEEDS), 3), (BATCH_NEEDS, 0), (0, 0)],
)
def test_no_more_processes_read_than_shared_memory_has_room_for(monkeypatch, free, processes):
    monkeypatch.setattr(machine, "shared_memory_bytes", lambda: free)
    split = Wished(torch.zeros(8, 3, 32, 32), torch.zeros(8, dtype=torch.long))
    assert loader(InOrder(split, size=4), split).num_workers == processes


def test_who_reads_alone_needs_no_shared_memory(monkeypatch):
    monkeypatch.setattr(machine, "shared_memory_bytes", lambda: pytest.fail("looked at"))
    assert loader(InOrder(numbered(4), size=2), numbered(4)).num_workers == 0


def test_the_rate_rises_then_falls_along_a_cosine():
    recipe = TrainingRecipe(learning_rate=1.0, warmup=0.2)
    assert [recipe.rate(progress) for progress in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def two_classes(weight: float = 1.0) -> Dataset:
    images = torch.tensor([-weight, weight] * 8)[:, None, None, None]
    split = Pixels(images, torch.tensor([0, 1] * 8))
    return Dataset(
        name="signs", train=split, held_out=split, classes=2, channels=1, height=1, width=1, batch=4, epochs=3
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_learns_in_every_precision_and_keeps_its_weights_in_single(dtype):
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(1, 2)), two_classes()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.01], [-0.01]]))
        model[1].bias.zero_()
    assert score(model, data.held_out, size=5, dtype=dtype).share == 0
    recipe = TrainingRecipe(learning_rate=0.1)
    assert list(fit(model, data, seed=0, epochs=3, dtype=dtype, recipe=recipe)) == [1, 2, 3]
    assert score(model, data.held_out, size=5, dtype=dtype).share == 1
    assert model[1].weight.dtype is torch.float32


def test_a_training_that_diverges_is_not_passed_off_as_a_result():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with pytest.raises(FloatingPointError, match="after 1 epochs of seed 7"):
        list(fit(model, two_classes(float("inf")), seed=7, epochs=3, dtype=torch.float32, recipe=TrainingRecipe()))


def test_what_a_mechanism_names_does_not_decay():
    class Tabled(Mechanism):
        undecayed = ("inner.weight",)

        def __init__(self, site):
            super().__init__(site)
            self.inner, self.outer = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

        def forward(self, x):
            return self.outer(self.inner(x))

    model = Tabled(Site(height=1, width=1, dim=2, heads=1))
    decaying, spared = optimiser_groups(model, 0.5)
    assert (decaying["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)
    assert [id(each) for each in decaying["params"]] == [id(model.outer.weight)]
    assert [id(each) for each in spared["params"]] == [id(model.inner.weight)]


def test_biases_and_gains_do_not_decay():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    nn.init.zeros_(model[3].weight)
    before = model[2].weight.clone()
    data = two_classes(0.0)
    list(fit(model, data, seed=0, epochs=1, dtype=torch.float32, recipe=TrainingRecipe(weight_decay=10.0, warmup=0.0)))
    assert model[1].weight.norm() < 1
    torch.testing.assert_close(model[2].weight, before, rtol=0, atol=0.02)


class OwnLoss(Mechanism):
    """A layer whose gain is trained by nothing but a loss of its own."""

    def __init__(self, site):
        super().__init__(site)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        auxiliary.contribute((self.gain - 3).square())
        return x


def test_a_loss_of_a_mechanism_of_anybodys_is_trained_on_and_no_evaluation_hears_it():
    torch.manual_seed(0)
    layer, data = OwnLoss(Site(height=1, width=1, dim=1, heads=1)), two_classes()
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(1, 2))
    recipe = TrainingRecipe(learning_rate=0.1, weight_decay=0.0)
    list(fit(model, data, seed=0, epochs=10, dtype=torch.float32, recipe=recipe))
    assert layer.gain.item() > 2
    before = layer.gain.item()
    score(model, data.held_out, size=5, dtype=torch.float32)
    assert not auxiliary.is_heard()
    assert layer.gain.item() == before
