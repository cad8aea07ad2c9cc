"""What a narrow network comes to on a proxy: one training of so many steps, and its score on what it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from attnbench.accuracy import training
from attnbench.accuracy.data import datasets
from attnbench.accuracy.data.splits import Dataset, Pixels, Split
from attnbench.accuracy.tasks import learning
from attnbench.accuracy.tasks.table import STEPS, AskedTask, is_task, read
from attnbench.calibration.narrow import ImageReader, TokenReader
from attnbench.calibration.published import PublishedNetwork

BATCH = 64
"""Images of a training step."""
HELD_OUT = 2000
"""Held-out images that are named, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyScore:
    """The share that one training came to name right."""

    network: str
    proxy: str
    seed: int
    steps: int
    """Training steps that were asked for; whole epochs are trained, or a part of the images."""
    share: float
    chance: float
    """The share that is right by who guesses."""


def learn(network: PublishedNetwork, proxy: str, *, seed: int, steps: int) -> ProxyScore:
    """Train a narrow network on a proxy, and return its score.

    Args:
        network: which.
        proxy: what ``--accuracy`` would be given: ``digits``, ``fashion-mnist``, ``shift:offset=4``, ``recall``.
        seed: decides weights and order.
        steps: of training, at each value of the axis where each is trained for by itself.

    Raises:
        DataError: there is no such data set.
        FloatingPointError: the training diverged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_task(proxy):
            asked = read(proxy)
            share, chance = _of_task(network, asked, seed=seed, steps=steps), asked.task.chance
        else:
            found = _of_images(network, proxy, seed=seed, steps=steps)
            share, chance = found.share, found.chance
    return ProxyScore(network=network.name, proxy=proxy, seed=seed, steps=steps, share=share, chance=chance)


def _of_task(network: PublishedNetwork, asked: AskedTask, *, seed: int, steps: int) -> float:
    """Return the mean over the values of the axis."""
    task, shares = asked.task, []
    for values in [asked.values] if task.practised else [(value,) for value in asked.values]:
        model = TokenReader(network, task)
        epochs = max(1, round(steps / STEPS))
        for _ in learning.practise(model, task, task.practised or values, seed=seed, epochs=epochs):
            pass
        shares += [learning.examine(model, task, value) for value in values]
    return sum(shares) / len(shares)


def _of_images(network: PublishedNetwork, proxy: str, *, seed: int, steps: int) -> training.Score:
    data = shortened(datasets.load(proxy), steps=steps, seed=seed)
    model = ImageReader(network, data)
    recipe = training.TrainingRecipe()
    for _ in training.fit(model, data, seed=seed, epochs=data.epochs, dtype=torch.float32, recipe=recipe):
        pass
    return training.score(model, data.held_out, size=4 * BATCH, dtype=torch.float32)


def shortened(data: Dataset, *, steps: int, seed: int) -> Dataset:
    """Return a data set that so many steps go through once: a part of its images, or several epochs of all."""
    epochs = max(1, round(steps * BATCH / len(data.train)))
    train = _some(data.train, steps * BATCH, seed) if epochs == 1 else data.train
    return replace(data, train=train, held_out=_some(data.held_out, HELD_OUT, 0), batch=BATCH, epochs=epochs)


def _some(split: Split, count: int, seed: int) -> Split:
    """Return images that a seed chooses, all if there are no more."""
    if len(split) <= count:
        return split
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count]
    return Pixels(*split.batch(chosen.tolist(), draw=seed))
