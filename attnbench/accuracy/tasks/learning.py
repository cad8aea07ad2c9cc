"""Learns a task with a mechanism, over several seeds, and examines it along the task's axis. Knows no cells.

Every mechanism gets the same maps in the same order, the same budget, and the same start for all that is not the
mechanism: the seed alone decides these. What was learned of one seed at one value is a *part*: parts are kept as they
come, taken up when a run goes on, and one that fails costs no other.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from attnbench import auxiliary, devices
from attnbench.accuracy.kept import Keeper, KeptTraining, Parts
from attnbench.accuracy.proxy import failures, interval, of_few
from attnbench.accuracy.tasks.batch import UNASKED
from attnbench.accuracy.tasks.curve import Curve
from attnbench.accuracy.tasks.maps import asked_about, draw
from attnbench.accuracy.tasks.network import Build, build_network, dependence
from attnbench.accuracy.tasks.table import BATCH, HELD_OUT, STEPS, AskedTask, ProbeTask
from attnbench.accuracy.training import TrainingRecipe, draw_anew
from attnbench.record import Value

RECIPE = TrainingRecipe(learning_rate=5e-3, weight_decay=0.01, label_smoothing=0.0)
"""How a task is learned, by every mechanism."""
_EXAMINED_WITH = 1_000_003
"""The seed of the maps that networks are examined with, the same for all seeds and never trained on."""
_NOISE = 0.05
"""Deviation of what is added to weights, so that none is zero where it is asked what can depend on what."""

Keep = Callable[[Curve], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedTask:
    """How well a task was learned."""

    asked: AskedTask
    epochs: int
    curve: Curve
    ceiling: Curve
    """The most that can be right at each value, by what answers can depend on."""
    remarks: tuple[str, ...] = ()
    """Which seeds failed and why, and which went on from where they were left."""

    def to_metrics(self) -> dict[str, Value]:
        """Return the metrics of a record; the share that is right is a seed's mean over the values of the axis."""
        task, values = self.asked.task, self.asked.values
        per_seed = [
            share for seed in range(self.curve.seeds) if (share := self.curve.of_seed(seed, values)) is not None
        ]
        ci_low, ci_high = interval(per_seed)
        return {
            "accuracy_kind": "task",
            "accuracy_top1": statistics.fmean(per_seed),
            "accuracy_ci_low": ci_low,
            "accuracy_ci_high": ci_high,
            "accuracy_seeds": len(per_seed),
            "accuracy_per_seed": " ".join(f"{value:.6g}" for value in per_seed),
            "accuracy_axis": f"{task.axis} ({task.unit})",
            "accuracy_curve": str(self.curve),
            "accuracy_ceiling": str(self.ceiling),
            "accuracy_holds_to": self.curve.holds_to(task.chance),
            "accuracy_chance": task.chance,
            "accuracy_remark": self._remark(len(per_seed)) or None,
            "epochs": self.epochs,
        }

    def _remark(self, seeds: int) -> str:
        chance = self.asked.task.chance
        near = all(point.mean < chance + (1 - chance) / 10 for point in self.curve.points())
        said = [f"hardly told from guessing, {chance:.1%} right, at any {self.asked.task.axis}"] if near else []
        return "; ".join([*said, *of_few(seeds), *self.remarks])


def learn(
    build: Build,
    asked: AskedTask,
    *,
    seeds: Sequence[int],
    epochs: int | None = None,
    device: str = "cpu",
    known: Curve | None = None,
    keep: Keep = lambda _: None,
    keeper: Keeper | None = None,
    progress: Progress = lambda *_: None,
) -> LearnedTask:
    """Train a mechanism on a task once for each seed, and at each value if those are trained for apart.

    Args:
        build: makes the mechanism's layer for a site.
        asked: the task and the values of its axis.
        seeds: those to train with.
        epochs: of ``STEPS`` batches each; None takes as many as the task suggests.
        device: where to train.
        known: what an interrupted run came to, which is not repeated.
        keep: called with all that is known after each part.
        keeper: keeps each training while it goes on; None for nowhere.
        progress: called after each epoch with the epochs done and all there are.

    Raises:
        FloatingPointError: every seed's training diverged.
        Exception: what the mechanism raised for every seed.
    """
    task, epochs, keeper = asked.task, epochs or asked.task.epochs, keeper or Keeper()
    curve = known if known and known.seeds == len(seeds) else Curve(seeds=len(seeds))
    groups = [asked.values] if task.practised else [(value,) for value in asked.values]
    errors: dict[int, Exception] = {}
    done, total = 0, len(seeds) * len(groups) * epochs
    for place, seed in enumerate(seeds):
        try:
            for values in groups:
                if not all(curve.has(value, place) for value in values):
                    for share in _part(build, task, values, seed=seed, epochs=epochs, device=device, keeper=keeper):
                        if share is None:
                            done += 1
                            progress(done, total)
                        else:
                            curve = curve.with_share(share[0], place, share[1])
                    keep(curve)
                else:
                    done += epochs
        except Exception as error:  # a mechanism may raise anything; the other seeds go on
            errors[seed] = error
            done = (place + 1) * len(groups) * epochs
    if len(errors) == len(seeds):
        raise next(iter(errors.values()))
    return LearnedTask(
        asked=asked,
        epochs=epochs,
        curve=curve,
        remarks=(*failures(errors), *keeper.remarks),
        ceiling=ceiling(build, asked, device=device),
    )


def ceiling(build: Build, asked: AskedTask, *, device: str = "cpu") -> Curve:
    """Return the most that can be right at each value: all that an answer can depend on, and guesses for the rest.

    It follows from how the layers are built and from nothing that is trained.
    """
    task = asked.task
    on = devices.of(device)
    with on.forked_random():
        model = build_network(build, task, seed=0).to(on.where).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(_NOISE * torch.randn_like(parameter))
        maps = draw(task, seed=0, purpose="ceiling", maps=1, value=asked.values[0]).maps.to(on.where)
        depends = dependence(model, maps).cpu() > 0
    found = Curve(seeds=1)
    for value in asked.values:
        reached = depends[asked_about(task, value)].double().mean().item()
        found = found.with_share(value, 0, reached + (1 - reached) * task.chance)
    return found


def _part(
    build: Build, task: ProbeTask, values: Sequence[int], *, seed: int, epochs: int, device: str, keeper: Keeper
) -> Iterator[tuple[int, float] | None]:
    """Train once; yield None after each epoch, and then each value with the share that is right at it."""
    on = devices.of(device)
    # What a layer draws, dropout included, follows from the seed too, and ends with the training.
    with on.forked_random():
        model = build_network(build, task, seed=seed).to(on.where)
        name = "-".join(map(str, ["seed", seed, *([] if task.practised else values)]))
        kept = keeper.training(name, asked=json.dumps([task.name, list(values), seed, epochs]))
        for done in practise(model, task, task.practised or values, seed=seed, epochs=epochs, kept=kept):
            yield from [None] * done
        for value in values:
            yield value, examine(model, task, value)


def practise(
    model: nn.Module,
    task: ProbeTask,
    values: Sequence[int],
    *,
    seed: int,
    epochs: int,
    kept: KeptTraining | None = None,
) -> Iterator[int]:
    """Train a model where it is, and yield after each epoch how many more are done, those of an earlier process first.

    Losses that mechanisms contribute of their own (``attnbench.auxiliary``) are added to the cross-entropy.

    Args:
        model: maps (B, H, W, channels) to logits for each token, (B, H, W, symbols).
        task: what is learned.
        values: of its axis, taken in turn.
        seed: decides the maps.
        epochs: of ``STEPS`` batches each.
        kept: where it is kept while it goes on, and gone on from; None for nowhere.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    model.train()
    where, steps = next(model.parameters()).device, epochs * STEPS
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=RECIPE.weight_decay, betas=(0.9, 0.98))
    parts: Parts = {"model": model, "optimizer": optimizer}
    begun = kept.take_up(parts) if kept else 0
    if begun:
        yield begun
    for step in range(begun * STEPS, steps):
        if step % STEPS == 0:
            draw_anew(seed, epoch=step // STEPS)
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.rate((step + 1) / steps)
        batch = draw(task, seed=seed, purpose=f"batch {step}", maps=BATCH, value=values[step % len(values)])
        with auxiliary.listening() as own:
            logits = model(batch.maps.to(where))
            loss = F.cross_entropy(logits.flatten(0, 2), batch.targets.to(where).flatten(), ignore_index=UNASKED)
        loss = auxiliary.added(loss, own)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), RECIPE.gradient_norm)
        optimizer.step()
        if (step + 1) % STEPS == 0:
            if not loss.isfinite():
                said = auxiliary.not_finite(loss.item(), own)
                raise FloatingPointError(f"{said} after {(step + 1) // STEPS} epochs of seed {seed}")
            if kept:
                kept.keep(parts, epoch=(step + 1) // STEPS)
            yield 1


@torch.no_grad()
def examine(model: nn.Module, task: ProbeTask, value: int) -> float:
    """Return the share that a model says right of what maps ask that it was not trained on."""
    model.eval()
    batch = draw(task, seed=_EXAMINED_WITH, purpose="held out", maps=HELD_OUT, value=value, held_out=True)
    said = model(batch.maps.to(next(model.parameters()).device)).argmax(-1).cpu()
    asked = batch.targets != UNASKED
    return float((said == batch.targets)[asked].double().mean())
