"""Measures how well a mechanism learns: a small backbone trained from scratch, over several seeds. Knows no cells.

Every mechanism gets the same images in the same order, the same budget, and the same start for all that is not the
mechanism: the seed alone decides these. The figure is a proxy. It ranks mechanisms on the data at hand and is not
comparable with a published accuracy.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch

from attnbench import devices, raised
from attnbench.accuracy.data.splits import Dataset
from attnbench.accuracy.kept import Keeper
from attnbench.accuracy.training import Score, TrainingRecipe, count, fit, score
from attnbench.mechanism import Mechanism
from attnbench.models.backbone import Backbone, Build
from attnbench.models.pyramid import Pyramid
from attnbench.probes.interval import mean_interval
from attnbench.record import Value
from attnbench.wording import number_of

FEWEST_SEEDS = 3
"""Fewer seeds give an interval that says next to nothing, or none."""
_ERRORS = 3
"""Standard errors above chance up to which an accuracy is near it."""
Progress = Callable[[int, int], None]
Keep = Callable[[Sequence[float]], None]

_FOR_DIGITS = Pyramid(dims=(24, 48, 96), depths=(2, 2, 1), heads=(2, 4, 8), mlp_ratio=2, patch=1)
_FOR_THUMBNAILS = Pyramid(dims=(64, 128, 256), depths=(2, 2, 2), heads=(2, 4, 8), mlp_ratio=2, patch=2)
FOR_PHOTOS = Pyramid(dims=(64, 128, 256, 512), depths=(2, 2, 2, 2), heads=(2, 4, 8, 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Top-1 accuracy on held-out images, as fractions."""

    kind: str = "proxy"
    dataset: str
    epochs: int
    top1: float
    """Mean over the seeds."""
    ci_low: float | None
    """Lower end of the mean's 95 % interval over seeds (Student's t), not below 0; None for a single seed."""
    ci_high: float | None
    """Upper end, not above 1."""
    per_seed: tuple[float, ...]
    """Each seed's own, in the order of the seeds."""
    remark: str = ""
    """What a reader must know of it: that it is near chance, or of few seeds."""

    def to_metrics(self) -> dict[str, Value]:
        """Return the metrics of a record."""
        return {
            "accuracy_kind": self.kind,
            "accuracy_top1": self.top1,
            "accuracy_ci_low": self.ci_low,
            "accuracy_ci_high": self.ci_high,
            "accuracy_seeds": len(self.per_seed),
            "accuracy_remark": self.remark or None,
            "accuracy_per_seed": " ".join(f"{value:.6g}" for value in self.per_seed),
            "epochs": self.epochs,
        }


def train(
    build: Build,
    data: Dataset,
    *,
    seeds: Sequence[int],
    epochs: int | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    recipe: TrainingRecipe | None = None,
    progress: Progress | None = None,
    alive: Callable[[float], None] | None = None,
    known: Sequence[float] = (),
    keep: Keep = lambda _: None,
    keeper: Keeper | None = None,
) -> Accuracy:
    """Train a mechanism's backbone once for each seed, and return how many held-out images it names right.

    Args:
        build: makes the mechanism's layer for a site.
        data: what to train on; decides the size of the backbone and the images per step.
        seeds: one training each.
        epochs: passes over the training images; None takes as many as the data set suggests.
        device: where to train.
        dtype: what to compute in; half precisions keep their weights in float32.
        recipe: how to train; None takes the default one.
        progress: called after each epoch with the epochs done and all there are, seeds together.
        alive: called every second or so with the part of all trainings that is done: an epoch may take an hour.
        known: the shares of the first seeds, with which an interrupted run has trained: that is not done again.
        keep: called after each seed but the last with the shares of all until then, until one fails.
        keeper: keeps each training while it goes on; None for nowhere.

    Raises:
        FloatingPointError: the training of every seed diverged.
        Exception: what the mechanism raised for every seed.
    """
    on, epochs, recipe = devices.of(device), epochs or data.epochs, recipe or TrainingRecipe()
    keeper = keeper or Keeper()
    asked = [data.name, len(data.train), data.batch, data.height, data.width, epochs, str(dtype), asdict(recipe)]
    scores: list[Score] = []
    errors: dict[int, Exception] = {}
    for place, seed in list(enumerate(seeds))[len(known) :]:
        try:
            # What a layer draws, dropout included, follows from the seed too, and ends with the training.
            with on.forked_random():
                torch.manual_seed(seed)
                model = backbone(build, data, seed=seed).to(on.where)
                model = model.double() if dtype is torch.float64 else model.float()  # complex weights stay complex
                within = partial(_within, alive, place, len(seeds)) if alive else None
                kept = keeper.training(f"seed-{seed}", asked=json.dumps([*asked, seed]))
                for done in fit(
                    model, data, seed=seed, epochs=epochs, dtype=dtype, recipe=recipe, alive=within, kept=kept
                ):
                    if progress is not None:
                        progress(place * epochs + done, len(seeds) * epochs)
                scores.append(score(model, data.held_out, size=4 * data.batch, dtype=dtype))
            if place + 1 < len(seeds) and not errors:
                keep([*known, *(each.share for each in scores)])
        except Exception as error:  # a mechanism may raise anything; the other seeds go on
            errors[seed] = error
    if known:
        scores = [*_again(known, scores[0] if scores else count(data.held_out, size=4 * data.batch)), *scores]
    if not scores:
        raise next(iter(errors.values()))
    per_seed = [each.share for each in scores]
    ci_low, ci_high = interval(per_seed)
    return Accuracy(
        kind=data.kind,
        dataset=data.name,
        epochs=epochs,
        top1=statistics.fmean(per_seed),
        ci_low=ci_low,
        ci_high=ci_high,
        per_seed=tuple(per_seed),
        remark="; ".join(filter(None, [remark(scores), data.remark, *failures(errors), *keeper.remarks])),
    )


def _again(known: Sequence[float], other: Score) -> list[Score]:
    """Return the scores that shares are of, of the images that another score is of."""
    return [replace(other, right=round(share * other.images)) for share in known]


def failures(errors: Mapping[int, Exception]) -> list[str]:
    """Return which seeds failed and why, a phrase each."""
    return [f"seed {seed} failed: {raised.in_words(error)}" for seed, error in errors.items()]


def _within(alive: Callable[[float], None], place: int, seeds: int, part: float) -> None:
    alive((place + part) / seeds)


def remark(scores: Sequence[Score]) -> str:
    """Say what a reader must know of the mean of some seeds' scores; empty for nothing.

    A mean is near chance if it is no more than three standard errors above the share of the commonest class, where
    the errors are those of naming as many images by chance: seeds that see the same images are no further images.
    """
    mean, (low, _), chance = (
        statistics.fmean(each.share for each in scores),
        interval([each.share for each in scores]),
        scores[0].chance,
    )
    reach = chance + _ERRORS * math.sqrt(chance * (1 - chance) / scores[0].images)
    near = mean <= reach or (low is not None and low <= chance)
    said = [f"not told from always naming the commonest class, {chance:.1%} right"] if near else []
    return "; ".join([*said, *of_few(len(scores))])


def of_few(seeds: int) -> list[str]:
    """Return what a reader must know of a mean of so few seeds; nothing of enough.

    Example:
        >>> of_few(1), of_few(3)
        (['of 1 seed only, which says little of another; give --seeds 3 or more'], [])
    """
    if seeds >= FEWEST_SEEDS:
        return []
    return [f"of {number_of(seeds, 'seed')} only, which says little of another; give --seeds {FEWEST_SEEDS} or more"]


def backbone(build: Build, data: Dataset, *, seed: int) -> Backbone:
    """Return a backbone sized for a data set, as ``seeded`` makes it."""
    return seeded(build, height=data.height, width=data.width, classes=data.classes, pyramid=sized_for(data), seed=seed)


def seeded(build: Build, *, height: int, width: int, classes: int, pyramid: Pyramid, seed: int) -> Backbone:
    """Return a backbone in which, for one seed, all but the mechanism starts from the same weights."""
    torch.manual_seed(seed)
    model = Backbone(build, height=height, width=width, classes=classes, pyramid=pyramid)
    inside = {module for layer in model.modules() if isinstance(layer, Mechanism) for module in layer.modules()}
    torch.manual_seed(seed)
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if module not in inside and callable(reset):
            reset()
    return model


def sized_for(data: Dataset) -> Pyramid:
    """Return a pyramid that suits a data set: the smaller its images, the fewer pixels to a token."""
    side = min(data.height, data.width)
    pyramid = _FOR_DIGITS if side < 24 else _FOR_THUMBNAILS if side < 96 else FOR_PHOTOS
    return replace(pyramid, in_channels=data.channels)


def interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of the mean of fractions by Student's t, cut to 0 and 1; none for fewer than two."""
    if len(values) < 2:
        return None, None
    found = mean_interval(values)
    return max(0.0, found.low), min(1.0, found.high)
