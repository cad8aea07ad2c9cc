"""Proxy accuracy: the same start, data and budget for every mechanism, and the same result for the same seed."""

from __future__ import annotations

import functools
import random
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from attnbench.accuracy import proxy, training
from attnbench.accuracy.data import datasets
from attnbench.accuracy.data.splits import Dataset, Pixels
from attnbench.accuracy.training import Score, score
from attnbench.mechanism import Macs, Mechanism, Site
from attnbench.mechanisms.hmhsa import HMHSA
from attnbench.mechanisms.lavit import LessAttention
from attnbench.mechanisms.mhsa import MHSA
from attnbench.mechanisms.qna import QnA
from attnbench.mechanisms.swin import ShiftedWindowAttention

BUILT_IN = (MHSA, ShiftedWindowAttention, HMHSA, QnA, LessAttention)


class Wasteful(Mechanism):
    """A layer that draws as much randomness as it can, when built and when run."""

    def __init__(self, site):
        super().__init__(site)
        self.linear = nn.Linear(site.dim, site.dim)
        nn.init.normal_(self.linear.weight, std=0.02)
        self.norm = nn.LayerNorm(site.dim)
        random.random()

    def forward(self, x):
        return nn.functional.dropout(self.linear(self.norm(x)), 0.2, training=self.training)

    @classmethod
    def macs(cls, site, **options):
        return Macs(projections=site.tokens * site.dim**2, attention=0)


def few(data: Dataset, count: int = 96) -> Dataset:
    """The first images of a data set held in memory."""
    return replace(
        data,
        train=Pixels(data.train.images[:count], data.train.labels[:count]),
        held_out=Pixels(data.held_out.images[:count], data.held_out.labels[:count]),
        batch=32,
    )


def built_into(layers: list[Mechanism], mechanism: type[Mechanism], site: Site) -> Mechanism:
    """A layer that is also kept in a list."""
    layers.append(mechanism(site))
    return layers[-1]


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.mark.parametrize("mechanism", BUILT_IN)
def test_every_built_in_mechanism_learns_digits(mechanism, digits):
    found = proxy.train(mechanism, digits, seeds=[0], epochs=8)
    assert found.top1 >= 0.97


@pytest.mark.parametrize("mechanism", [LessAttention, Wasteful])
def test_one_seed_gives_one_result_bit_for_bit(mechanism, digits):
    first, second = [], []
    for layers in (first, second):
        torch.rand(3)
        build = functools.partial(built_into, layers, mechanism)
        proxy.train(build, few(digits), seeds=[4], epochs=1)
    pairs = list(zip(nn.ModuleList(first).parameters(), nn.ModuleList(second).parameters(), strict=True))
    assert pairs
    assert all(torch.equal(a, b) for a, b in pairs)


def test_seeds_differ(digits):
    found = proxy.train(Wasteful, few(digits), seeds=[0, 1, 2], epochs=1)
    assert len(set(found.per_seed)) > 1


def test_every_mechanism_sees_the_same_batches_in_the_same_order(digits):
    orders = []
    for mechanism in (MHSA, Wasteful):
        data = few(digits)
        seen = data.train.batch
        orders.append([])
        data.train.batch = lambda indices, *, draw, seen=seen: (
            orders[-1].append((tuple(indices), draw)) or seen(indices, draw=draw)
        )
        proxy.train(mechanism, data, seeds=[0, 1], epochs=2)
    assert orders[0] == orders[1]
    assert len(orders[0]) == 2 * 2 * 3


def test_held_out_images_are_never_trained_on(digits):
    data, layers, modes = few(digits), [], []
    held_out = data.held_out.batch

    def batch(indices, *, draw):
        modes.append(layers[-1].training)
        return held_out(indices, draw=draw)

    data.held_out.batch = batch
    proxy.train(functools.partial(built_into, layers, MHSA), data, seeds=[0], epochs=2)
    assert modes == [False]


def test_all_but_the_mechanism_starts_from_the_same_weights(digits):
    first, second, other = (
        proxy.backbone(mechanism, digits, seed=seed).state_dict()
        for mechanism, seed in ((MHSA, 0), (Wasteful, 0), (Wasteful, 1))
    )
    shared = [name for name in first if ".mechanism." not in name]
    assert "stages.1.blocks.0.mlp.1.weight" in shared
    assert all(torch.equal(first[name], second[name]) for name in shared)
    assert not torch.equal(second["head.weight"], other["head.weight"])


def test_a_mechanism_keeps_the_start_it_gives_itself(digits):
    model = proxy.backbone(LessAttention, digits, seed=0)
    psi = model.stages[1].blocks[1].mechanism.attend.psi.weight
    assert torch.equal(psi, torch.eye(len(psi)))


def test_training_leaves_the_generator_as_it_was(digits):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    proxy.train(Wasteful, few(digits), seeds=[0], epochs=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_counts_the_epochs_of_all_seeds(digits):
    calls = []
    proxy.train(Wasteful, few(digits), seeds=[0, 1], epochs=2, progress=lambda *call: calls.append(call))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_result_is_the_mean_with_its_interval_and_the_seeds_own_values(digits):
    found = proxy.train(Wasteful, few(digits), seeds=range(3), epochs=1)
    assert found.top1 == pytest.approx(sum(found.per_seed) / 3)
    assert found.ci_low <= found.top1 <= found.ci_high
    metrics = found.to_metrics()
    assert (metrics["accuracy_kind"], metrics["accuracy_seeds"], metrics["epochs"]) == ("proxy", 3, 1)
    assert [float(value) for value in metrics["accuracy_per_seed"].split()] == pytest.approx(found.per_seed, rel=1e-5)
    assert found.dataset == "digits"


def test_the_interval_is_students():
    # t(0.975, 2 degrees of freedom) = 4.30265, as in any table.
    low, high = proxy.interval([0.5, 0.6, 0.7])
    assert (low, high) == pytest.approx((0.6 - 4.30265 * 0.1 / 3**0.5, 0.6 + 4.30265 * 0.1 / 3**0.5), abs=1e-5)
    assert proxy.interval([0.9, 1.0])[1] == 1.0
    assert proxy.interval([0.9]) == (None, None)


def test_without_epochs_the_data_set_decides(digits):
    assert proxy.train(Wasteful, replace(few(digits), epochs=2), seeds=[0]).epochs == 2


@pytest.mark.parametrize(("size", "patch", "stages"), [((8, 8), 1, 3), ((32, 32), 2, 3), ((224, 448), 4, 4)])
def test_the_backbone_is_sized_for_the_images(digits, size, patch, stages):
    pyramid = proxy.sized_for(replace(digits, height=size[0], width=size[1], channels=3))
    assert (pyramid.patch, len(pyramid.dims), pyramid.in_channels) == (patch, stages, 3)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_folder_of_images_is_trained_on(tmp_path):
    for split in ("train", "val"):
        for name, colour in (("dark", 0), ("light", 255)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(8):
                Image.new("RGB", (16, 16), (colour, colour, colour)).save(folder / f"{i}.png")
    data = replace(datasets.load(f"folder:{tmp_path}", image_size=(16, 16)), batch=8)
    assert proxy.train(MHSA, data, seeds=[0], epochs=10).top1 == 1.0


def test_complex_weights_are_trained_as_complex_numbers(digits):
    layers: list[Mechanism] = []

    class Filter(Wasteful):
        def __init__(self, site):
            super().__init__(site)
            self.gain = nn.Parameter(torch.randn(site.dim, dtype=torch.complex64))

        def forward(self, x):
            turned = super().forward(x) * self.gain
            return turned.real + turned.imag

    proxy.train(functools.partial(built_into, layers, Filter), few(digits), seeds=[0], epochs=1)
    assert all(layer.gain.is_complex() and layer.gain.grad.imag.any() for layer in layers)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ((45, 46, 44), "not told from always naming the commonest class, 10.2% right"),
        ((100, 440, 98), "not told from always naming the commonest class, 10.2% right"),  # [0, 1] holds everything
        ((440, 441, 439), ""),
        ((440, 441), "of 2 seeds only, which says little of another; give --seeds 3 or more"),
        ((44,), "not told from always .*; of 1 seed only"),
    ],
)
def test_an_accuracy_near_chance_or_of_few_seeds_says_so(right, said):
    scores = [Score(right=each, images=450, commonest=46) for each in right]
    assert re.fullmatch(f"{said}.*" if said else "", proxy.remark(scores))


def test_chance_is_the_share_of_the_commonest_class(digits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    found = score(model, digits.held_out, size=64, dtype=torch.float32)
    labels = digits.held_out.labels
    assert found.chance == labels.bincount().max() / len(labels)


def test_a_seed_that_fails_costs_only_that_seed(digits):
    class Unlucky(Wasteful):
        def __init__(self, site):
            super().__init__(site)
            if torch.initial_seed() == 1:
                raise RuntimeError("no luck")

    found = proxy.train(Unlucky, few(digits), seeds=[0, 1, 2], epochs=1)
    assert len(found.per_seed) == 2
    assert found.remark.endswith("seed 1 failed: RuntimeError: no luck")
    with pytest.raises(RuntimeError, match="no luck"):
        proxy.train(Unlucky, few(digits), seeds=[1], epochs=1)


def test_a_training_says_that_it_is_alive_within_an_epoch(digits, monkeypatch):
    monkeypatch.setattr(training, "TOLD_EVERY_S", 0.0)
    parts = []
    proxy.train(Wasteful, few(digits), seeds=[0, 1], epochs=1, alive=parts.append)
    assert parts == pytest.approx([step / 6 for step in range(1, 7)])


def test_seeds_that_an_interrupted_run_trained_with_are_not_trained_with_again(digits):
    data, kept, seen = few(digits), [], []
    whole = proxy.train(Wasteful, data, seeds=[0, 1, 2], epochs=1, keep=kept.append)
    assert kept == [[*whole.per_seed[:1]], [*whole.per_seed[:2]]]
    known = [float(f"{share:.6g}") for share in kept[1]]
    again = proxy.train(
        Wasteful, data, seeds=[0, 1, 2], epochs=1, known=known, keep=kept.append,
        progress=lambda *call: seen.append(call),
    )  # fmt: skip
    assert (again, seen, len(kept)) == (whole, [(3, 3)], 2)


def test_a_seed_that_fails_ends_what_is_kept_and_costs_none_that_was_known(digits):
    class Unlucky(Wasteful):
        def __init__(self, site):
            super().__init__(site)
            if torch.initial_seed() in {1, 2}:
                raise RuntimeError("no luck")

    data, kept = few(digits), []
    first = proxy.train(Unlucky, data, seeds=[0, 1, 3], epochs=1, keep=kept.append)
    assert kept == [[first.per_seed[0]]]
    found = proxy.train(Unlucky, data, seeds=[0, 1, 2], epochs=1, known=kept[0])
    assert found.per_seed == first.per_seed[:1]
    commonest = data.held_out.labels.bincount().max() / len(data.held_out)
    assert found.remark.startswith(f"not told from always naming the commonest class, {commonest:.1%} right; of 1 seed")
    assert found.remark.endswith("seed 1 failed: RuntimeError: no luck; seed 2 failed: RuntimeError: no luck")
