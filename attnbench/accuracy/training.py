"""Training that only a seed decides: which images in which order, changed how, for how many steps."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Indexed

from attnbench import auxiliary
from attnbench.accuracy.data.splits import Dataset, Images, Labels, Split
from attnbench.accuracy.kept import KeptTraining, Parts
from attnbench.devices import machine
from attnbench.errors import DataError
from attnbench.mechanism import Mechanism

Batch = tuple[Images, Labels]

_AHEAD = 2
"""Batches that each process keeps ready, torch's own default."""
_LOOKED_AT = 8
"""Batches among which one with an image that can be read is looked for, to know its size."""
_START = "fork" if sys.platform == "linux" else None
"""How processes that read ahead begin: with the images as they are here. Python 3.14 would send them instead, which
takes a copy of all of them, and transforms that can be sent."""
_OF_SHARED_MEMORY = 0.8
"""The part of what is free there that batches may take."""
TOLD_EVERY_S = 1.0
"""How often a training says how far it is."""
HALF = (torch.float16, torch.bfloat16)
"""Precisions that are computed in under autocast, on float32 weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How every mechanism is trained: AdamW on a learning rate that rises, then falls along a cosine to zero."""

    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    """Of matrices and kernels; biases, gains and what a mechanism names as ``undecayed`` do not decay."""
    warmup: float = 0.1
    """Fraction of the steps over which the learning rate rises."""
    label_smoothing: float = 0.1
    gradient_norm: float = 1.0
    """Gradients of a greater norm are scaled down to it."""

    def rate(self, progress: float) -> float:
        """Return the learning rate after a fraction of the training."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        return self.learning_rate * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2


class Shuffled(Indexed[Batch]):
    """The batches of all epochs of one training: each epoch another order, a last incomplete batch left out."""

    def __init__(self, split: Split, *, size: int, epochs: int, seed: int, begun: int = 0) -> None:
        """Take a split.

        Args:
            split: the images.
            size: of a batch.
            epochs: all there are.
            seed: decides orders and changes.
            begun: epochs that are left out since they were seen before; the rest is as if they were not.
        """
        self.split, self.size, self.epochs, self.seed, self.begun = split, size, epochs, seed, begun
        self.steps = max(1, len(split) // size)
        self._order = (-1, torch.empty(0, dtype=torch.long))

    def __len__(self) -> int:
        return (self.epochs - self.begun) * self.steps

    def __getitem__(self, index: int) -> Batch:
        index += self.begun * self.steps
        epoch, step = divmod(index, self.steps)
        chosen = self._order_of(epoch)[step * self.size : (step + 1) * self.size]
        return self.split.batch(chosen.tolist(), draw=seed_for(self.seed, f"batch {index}"))

    def _order_of(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(seed_for(self.seed, f"epoch {epoch}"))
            self._order = epoch, torch.randperm(len(self.split), generator=generator)
        return self._order[1]


class InOrder(Indexed[Batch]):
    """The batches of a split as it lies, every image once."""

    def __init__(self, split: Split, *, size: int) -> None:
        self.split, self.size = split, size

    def __len__(self) -> int:
        return math.ceil(len(self.split) / self.size)

    def __getitem__(self, index: int) -> Batch:
        chosen = range(index * self.size, min((index + 1) * self.size, len(self.split)))
        return self.split.batch(chosen, draw=0)


def fit(
    model: nn.Module,
    data: Dataset,
    *,
    seed: int,
    epochs: int,
    dtype: torch.dtype,
    recipe: TrainingRecipe,
    alive: Callable[[float], None] | None = None,
    kept: KeptTraining | None = None,
) -> Iterator[int]:
    """Train a model where it is, and yield the number of epochs done after each.

    Losses that mechanisms contribute of their own (``attnbench.auxiliary``) are added to the cross-entropy.

    Args:
        model: what is trained.
        data: what to train on.
        seed: decides the order of the images and how they are changed.
        epochs: passes over the training images.
        dtype: what to compute in.
        recipe: how to train.
        alive: called every second or so with the part of the training that is done.
        kept: where it is kept while it goes on, and gone on from; None for nowhere.

    Raises:
        FloatingPointError: the loss is no longer finite.
        DataError: no image of a batch can be read.
    """
    model.train()
    weight = next(model.parameters())
    optimizer = torch.optim.AdamW(optimiser_groups(model, recipe.weight_decay))
    scaler = torch.amp.GradScaler(weight.device.type, enabled=dtype is torch.float16)
    parts: Parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    begun = kept.take_up(parts) if kept else 0
    batches = Shuffled(data.train, size=data.batch, epochs=epochs, seed=seed, begun=begun)
    first, steps = begun * batches.steps, epochs * batches.steps
    told_at = time.monotonic()
    for step, (images, labels) in enumerate(loader(batches, data.train), start=first + 1):
        if (step - 1) % batches.steps == 0:
            draw_anew(seed, epoch=(step - 1) // batches.steps)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step / steps)
        if not len(labels):
            raise DataError(f"no image of a batch can be read; {data.train.remark}")
        with autocast(weight, dtype), auxiliary.listening() as own:
            logits = model(images.to(weight))
            loss = F.cross_entropy(logits, labels.to(weight.device), label_smoothing=recipe.label_smoothing)
        loss = auxiliary.added(loss, own)
        optimizer.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm)
        scaler.step(optimizer)
        scaler.update()
        if alive and time.monotonic() - told_at >= TOLD_EVERY_S:
            told_at = time.monotonic()
            alive(step / steps)
        if step % batches.steps == 0:
            if not loss.isfinite():
                said = auxiliary.not_finite(loss.item(), own)
                raise FloatingPointError(f"{said} after {step // batches.steps} epochs of seed {seed}")
            if kept:
                kept.keep(parts, epoch=step // batches.steps)
            yield step // batches.steps


def draw_anew(seed: int, *, epoch: int) -> None:
    """Seed what the steps of an epoch draw from, dropout and whatever else a layer draws, whichever process makes them.

    Args:
        seed: of the training.
        epoch: from 0.
    """
    torch.manual_seed(seed_for(seed, f"steps of epoch {epoch}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How many images of a split a model names right.

    Example:
        >>> score = Score(right=30, images=100, commonest=25)
        >>> score.share, score.chance
        (0.3, 0.25)
    """

    right: int
    images: int
    commonest: int
    """Images of the class that most of them are of."""

    @property
    def share(self) -> float:
        """The fraction that is named right."""
        return self.right / self.images

    @property
    def chance(self) -> float:
        """The fraction that is named right by who always names the commonest class."""
        return self.commonest / self.images


@torch.no_grad()
def score(model: nn.Module, split: Split, *, size: int, dtype: torch.dtype) -> Score:
    """Show a model the images of a split, ``size`` of them at a time.

    Raises:
        DataError: none of them can be read.
    """
    model.eval()
    weight = next(model.parameters())
    right, of_class = 0, Counter[int]()
    for images, labels in loader(InOrder(split, size=size), split):
        if not len(labels):
            continue
        with autocast(weight, dtype):
            right += int((model(images.to(weight)).argmax(1).cpu() == labels).sum())
        of_class.update(labels.tolist())
    if not of_class:
        raise DataError(f"no image can be read; {split.remark}")
    return Score(right=right, images=of_class.total(), commonest=max(of_class.values()))


def count(split: Split, *, size: int) -> Score:
    """Return the score of who names no image of a split right, reading ``size`` of them at a time."""
    of_class = Counter[int]()
    for _, labels in loader(InOrder(split, size=size), split):
        of_class.update(labels.tolist())
    return Score(right=0, images=of_class.total(), commonest=max(of_class.values()))


def loader(batches: Shuffled | InOrder, split: Split) -> DataLoader[Batch]:
    """Return what reads batches ahead, in as many processes as their split is worth and shared memory has room for."""
    readers = _readers(batches, split.processes)
    return DataLoader(
        batches, batch_size=None, num_workers=readers, multiprocessing_context=_START if readers else None
    )


def _readers(batches: Shuffled | InOrder, wished: int) -> int:
    """Return how many processes can read ahead; 0 is this one, which needs no shared memory.

    A batch that finds no room there is lost with the thread that sends it, and torch's loader waits for it for ever.
    Containers have 64 MB of it by default.
    """
    free = machine.shared_memory_bytes() if wished else None
    if free is None:
        return wished
    read = next(
        (batch for batch in map(batches.__getitem__, range(min(_LOOKED_AT, len(batches)))) if len(batch[1])), None
    )
    if read is None:
        return 0
    images, labels = read
    whole = batches.size / len(labels)  # images that cannot be read are missing
    of_a_process = (_AHEAD + 1) * whole * (images.nbytes + labels.nbytes)  # and the one that is being made
    return min(wished, int(_OF_SHARED_MEMORY * free / of_a_process))


def autocast(weight: Tensor, dtype: torch.dtype) -> torch.autocast:
    """Return the context that a half precision is computed in; it does nothing for the others."""
    return torch.autocast(weight.device.type, dtype=dtype, enabled=dtype in HALF)


def optimiser_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return a model's parameters as an optimiser takes them, those that decay and then those that do not."""
    parameters, spared = [p for p in model.parameters() if p.requires_grad], _undecayed(model)
    decaying = [p for p in parameters if p.ndim > 1 and id(p) not in spared]
    others = [p for p in parameters if p.ndim <= 1 or id(p) in spared]
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _undecayed(model: nn.Module) -> set[int]:
    """Return the identities of the parameters that mechanisms in a model keep from decaying."""
    return {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, Mechanism)
        for name, parameter in layer.named_parameters()
        if any(f".{name}".endswith(f".{end}") for end in layer.undecayed)
    }


def seed_for(seed: int, purpose: str) -> int:
    """Return a seed for one purpose, unrelated to the seeds for any other."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7])
