"""Trains a network under a head on composites, over several seeds, and scores it. Knows no cells.

Every mechanism and network gets the same composites in the same order and the same budget; the seed alone decides them.
Scores are of composites: they rank what was trained here and are not comparable with those of ADE20K or COCO.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from attnbench import devices
from attnbench.accuracy.composites.batches import CompositeData
from attnbench.accuracy.composites.bodies import BuildBody, Head, under
from attnbench.accuracy.composites.trained import TrainedHead
from attnbench.accuracy.kept import Keeper, KeptTraining, Parts
from attnbench.accuracy.proxy import failures, interval, of_few
from attnbench.accuracy.training import TOLD_EVERY_S, TrainingRecipe, draw_anew, optimiser_groups
from attnbench.metrics import METRICS
from attnbench.record import Value

KIND = "composites"
STEPS = 50
"""Batches of an epoch."""
RECIPE = TrainingRecipe(learning_rate=1e-3, weight_decay=0.05, label_smoothing=0.0)
"""How every mechanism and network is trained, under every head."""
_TOLD_APART = 0.01
"""How much more than the blind score a mean must be to be told from it."""

Alive = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedHead:
    """What each seed came to, as fractions."""

    epochs: int
    per_seed: Mapping[str, tuple[float, ...]]
    """By metric, in the order of the seeds."""
    blind: float
    """The first metric's value of who sees nothing."""
    remarks: tuple[str, ...] = ()
    """Which seeds failed and why, and which went on from where they were left."""

    def to_metrics(self) -> dict[str, Value]:
        """Return the metrics of a record."""
        found: dict[str, Value] = {"accuracy_kind": KIND, "epochs": self.epochs}
        for name, values in self.per_seed.items():
            metric = METRICS[name]
            low, high = interval(values)
            found |= {name: statistics.fmean(values), metric.low: low, metric.high: high}
            found[metric.per_seed] = " ".join(f"{value:.6g}" for value in values)
        seeds = len(next(iter(self.per_seed.values())))
        return found | {"accuracy_seeds": seeds, "accuracy_remark": self._remark(seeds) or None}

    def _remark(self, seeds: int) -> str:
        first = statistics.fmean(next(iter(self.per_seed.values())))
        near = first < self.blind + _TOLD_APART
        said = [f"hardly told from who sees nothing, {self.blind:.1%}; give more --epochs"] if near else []
        return "; ".join([*said, *of_few(seeds), *self.remarks])


def learn(
    body: BuildBody,
    head: Head,
    data: CompositeData,
    *,
    seeds: Sequence[int],
    epochs: int,
    device: str = "cpu",
    alive: Alive = lambda _: None,
    keeper: Keeper | None = None,
) -> LearnedHead:
    """Train a network under a head once for each seed, and examine it.

    Args:
        body: builds the network, of a seed.
        head: puts a head on it.
        data: composites of the network's size.
        seeds: one training each.
        epochs: of ``STEPS`` batches each.
        device: where to train.
        alive: called every second or so with the part of all that is done.
        keeper: keeps each training while it goes on; None for nowhere.

    Raises:
        FloatingPointError: the training of every seed diverged.
        Exception: what the network raised for every seed.
    """
    on, keeper = devices.of(device), keeper or Keeper()
    scores: list[Mapping[str, float]] = []
    errors: dict[int, Exception] = {}
    blind = 0.0
    for place, seed in enumerate(seeds):
        try:
            # What a layer draws, dropout included, follows from the seed too, and ends with the training.
            with on.forked_random():
                model = under(head, body, seed=seed).to(on.where)
                kept = keeper.training(f"seed-{seed}", asked=json.dumps([data.height, data.width, epochs, seed]))
                parts = _parts(model, data, seed=seed, epochs=epochs, kept=kept)
                _told(parts, alive, place / len(seeds), 1 / len(seeds))
            scores.append(model.scores())
            blind = model.blind()
        except Exception as error:  # a mechanism may raise anything; the other seeds go on
            errors[seed] = error
    if not scores:
        raise next(iter(errors.values()))
    return LearnedHead(
        epochs=epochs,
        per_seed={name: tuple(each[name] for each in scores) for name in scores[0]},
        blind=blind,
        remarks=(*failures(errors), *keeper.remarks),
    )


def _told(parts: Iterator[float], alive: Alive, before: float, share: float) -> None:
    """Go through the parts of one training, and tell every second or so how far it is."""
    told_at = time.monotonic()
    for part in parts:
        if time.monotonic() - told_at >= TOLD_EVERY_S:
            told_at = time.monotonic()
            alive(before + share * part)


def _parts(model: TrainedHead, data: CompositeData, *, seed: int, epochs: int, kept: KeptTraining) -> Iterator[float]:
    """Train a model where it is and examine it; yield after each batch how much of both is done."""
    steps, examined = epochs * STEPS, -(-data.examined // data.batch)
    for step in _train(model, data, seed=seed, steps=steps, kept=kept):
        yield step / (steps + examined)
    model.eval()
    for step, batch in enumerate(data.examining(), start=steps + 1):
        model.examine(batch)
        yield step / (steps + examined)


def _train(model: TrainedHead, data: CompositeData, *, seed: int, steps: int, kept: KeptTraining) -> Iterator[int]:
    """Train a model where it is; yield the number of steps done after each.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    model.train()
    optimizer = torch.optim.AdamW(optimiser_groups(model, RECIPE.weight_decay))
    parts: Parts = {"model": model, "optimizer": optimizer}
    for step in range(kept.take_up(parts) * STEPS + 1, steps + 1):
        if (step - 1) % STEPS == 0:
            draw_anew(seed, epoch=(step - 1) // STEPS)
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.rate(step / steps)
        loss = model.loss(data.training(seed, step - 1))
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} after {step - 1} steps of seed {seed}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), RECIPE.gradient_norm)
        optimizer.step()
        if step % STEPS == 0:
            kept.keep(parts, epoch=step // STEPS)
        yield step
