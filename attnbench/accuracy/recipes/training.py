"""Training by a recipe, a seed at a time: interrupted, it goes on from the last epoch to the same weights.

The seed decides which images come in which order and how they are changed, whichever epoch a process began at; what a
step draws beside that (mixing, dropout) is seeded anew at each epoch.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from attnbench import devices, files
from attnbench.accuracy import proxy
from attnbench.accuracy.data.splits import Dataset, seeded
from attnbench.accuracy.recipes import ingredients
from attnbench.accuracy.recipes.kept import Training
from attnbench.accuracy.recipes.table import KIND, PublishedRecipe
from attnbench.accuracy.training import TOLD_EVERY_S, Score, Shuffled, loader, score, seed_for
from attnbench.errors import DataError

Alive = Callable[[float], None]
"""Called with the part of the training that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A training that is asked for."""

    name: str
    recipe: PublishedRecipe
    data: Dataset
    epochs: int
    folder: Path
    """Where checkpoints are kept, a file for each seed."""
    remarks: list[str] = field(default_factory=list)
    """What a reader must know of how it went."""

    @property
    def batch(self) -> int:
        """Images per step."""
        return min(self.data.batch, len(self.data.train))

    def asked(self, seed: int) -> str:
        """Return what is asked for, in a text: a checkpoint is gone on from where it is of the same."""
        data = self.data
        of_data = [data.name, len(data.train), data.classes, data.height, data.width]
        return json.dumps([self.name, asdict(self.recipe), of_data, self.batch, self.epochs, seed])


def train(
    build: Callable[[], nn.Module], course: Course, *, seeds: Sequence[int], device: str = "cpu", alive: Alive
) -> proxy.Accuracy:
    """Train a model once for each seed by a recipe, and return how many held-out images it names right.

    Args:
        build: makes the model, with random weights that follow from torch's seed.
        course: what is asked for.
        seeds: one training each; one that fails costs only itself.
        device: where to train.
        alive: called every second or so with the part of all trainings that is done.

    Raises:
        FloatingPointError: the training of every seed diverged.
        Exception: what the model raised for every seed.
    """
    on, scores = devices.of(device), list[Score]()
    errors: dict[int, Exception] = {}
    for place, seed in enumerate(seeds):
        try:
            with on.forked_random(), seeded(seed):
                torch.manual_seed(seed)
                model = build().to(on.where).float()
                found = fit(model, course, seed=seed, alive=partial(_within, alive, place, len(seeds)))
                scores.append(score(found, course.data.held_out, size=course.data.batch, dtype=torch.float32))
        except Exception as error:  # a model may raise anything; the other seeds go on
            errors[seed] = error
    if not scores:
        raise next(iter(errors.values()))
    per_seed = tuple(each.share for each in scores)
    ci_low, ci_high = proxy.interval(per_seed)
    said = [proxy.remark(scores), course.data.remark, *dict.fromkeys(course.remarks), *proxy.failures(errors)]
    return proxy.Accuracy(
        kind=f"{KIND} {course.name}",
        dataset=course.data.name,
        epochs=course.epochs,
        top1=statistics.fmean(per_seed),
        ci_low=ci_low,
        ci_high=ci_high,
        per_seed=per_seed,
        remark="; ".join(filter(None, said)),
    )


def fit(model: nn.Module, course: Course, *, seed: int, alive: Alive) -> nn.Module:
    """Train a model where it is, from where its checkpoint has come to, and return what is to be scored.

    Raises:
        FloatingPointError: the loss is no longer finite.
        DataError: no image of a batch can be read.
    """
    recipe, data = course.recipe, course.data
    training = Training(
        model=model,
        optimiser=ingredients.optimiser(model, recipe, batch=course.batch),
        average=ModelEmaV3(model, decay=recipe.average, use_warmup=True) if recipe.average else None,
    )
    path = course.folder / f"seed-{seed}.pth"
    done = _taken_up(training, path, course, seed)
    batches = Shuffled(data.train, size=course.batch, epochs=course.epochs, seed=seed, begun=done)
    steps, mix = batches.steps, ingredients.mixing(recipe, data.classes)
    rates = ingredients.schedule(training.optimiser, recipe, epochs=course.epochs, steps=steps)
    weight, told_at = next(model.parameters()), time.monotonic()
    model.train()
    for step, (images, labels) in enumerate(loader(batches, data.train), start=done * steps):
        if step % steps == 0:
            _draw(seed, epoch=step // steps)
        if not len(labels):
            raise DataError(f"no image of a batch can be read; {data.train.remark}")
        rates.step_update(step)
        found, wanted = ingredients.mixed(mix, images.to(weight), labels.to(weight.device))
        loss = ingredients.loss(recipe, model(found), wanted)
        training.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.gradient_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm)
        training.optimiser.step()
        if training.average is not None:
            training.average.update(model, step=step + 1)
        if time.monotonic() - told_at >= TOLD_EVERY_S:
            told_at = time.monotonic()
            alive((step + 1) / (course.epochs * steps))
        if (step + 1) % steps == 0:
            epoch = (step + 1) // steps
            if not loss.isfinite():
                raise FloatingPointError(f"the loss is {loss.item()} after {epoch} epochs of seed {seed}")
            _keep(training, path, course, epoch=epoch, seed=seed)
    return training.scored


def _within(alive: Alive, place: int, seeds: int, part: float) -> None:
    alive((place + part) / seeds)


def _draw(seed: int, *, epoch: int) -> None:
    """Seed what the steps of an epoch draw from."""
    drawn = seed_for(seed, f"steps of epoch {epoch}")
    torch.manual_seed(drawn)
    np.random.seed(drawn % 2**32)  # what timm mixes by


def _taken_up(training: Training, path: Path, course: Course, seed: int) -> int:
    try:
        done = training.take_up(path, asked=course.asked(seed))
    except DataError as error:
        course.remarks.append(f"seed {seed} began anew: {error}")
        return 0
    if 0 < done < course.epochs:
        course.remarks.append(f"seed {seed} went on after epoch {done} of {course.epochs}")
    return done


def _keep(training: Training, path: Path, course: Course, *, epoch: int, seed: int) -> None:
    try:
        training.keep(path, epoch=epoch, asked=course.asked(seed), labels=course.data.labels)
    except OSError as error:  # a full disk costs the checkpoint, not the training
        course.remarks.append(f"checkpoints could not be kept: {files.reason_of(error)}")
