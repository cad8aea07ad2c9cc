"""Same or different: maps of two garments of Fashion-MNIST, and whether a token's is the one that is shown elsewhere.

One token of a map, the shown one, has its garment in channels of its own; every other token has that garment or
another, either as likely, and is asked whether it is the shown one. All tokens between are of the same two garments, so
that nothing but the shown token tells which is which: who sees only one of the two tokens can only guess. Every garment
is brought to mean 0 and deviation 1: sums and contrasts are those of any other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float
from torch import Tensor

from attnbench.accuracy.data import fashion
from attnbench.accuracy.data.splits import Pixels, Split
from attnbench.accuracy.tasks.batch import UNASKED, TaskBatch, WantedMaps, distances
from attnbench.accuracy.tasks.table import ProbeTask
from attnbench.errors import DataError

DIFFERENT, SAME = 0, 1
"""What can be said of a token."""
CELL = 2
"""Pixels a side of which each is the mean: garments are 14 x 14 then."""
PIXELS = (fashion.SIDE // CELL) ** 2


def check(task: ProbeTask) -> None:
    """Make sure that what a task's maps show is there.

    Raises:
        DataError: it is not; the message says what installs it.
    """
    try:
        fashion.check(fashion.FOLDER)
    except DataError:
        said = f"{task.name} shows Fashion-MNIST, which is not in {fashion.FOLDER}"
        raise DataError(f"{said}; install Debian's package dataset-fashion-mnist") from None


def draw_pairs(wanted: WantedMaps) -> TaskBatch:
    """Return maps on which tokens are asked that lie ``value`` tokens from the shown one; 0 for all.

    Raises:
        DataError: Fashion-MNIST is not there, or cannot be read.
    """
    task, generator, maps = wanted.task, wanted.generator, wanted.maps
    pictures, tokens = _pictures(wanted.held_out), task.height * task.width
    about = pairs_asked_about(task, wanted.value)
    possible = about.any(0).nonzero().flatten()
    places = possible[torch.randint(len(possible), (maps,), generator=generator)]
    shown, other = _two_of(len(pictures), maps, generator)
    same = torch.randint(2, (maps, tokens), generator=generator)
    garments = pictures[torch.where(same == SAME, shown[:, None], other[:, None])]
    is_shown = F.one_hot(places, tokens).bool()[..., None]
    channels = [garments.masked_fill(is_shown, 0), pictures[shown][:, None] * is_shown]
    return TaskBatch(
        maps=torch.cat(channels, -1).view(maps, task.height, task.width, -1),
        targets=same.masked_fill(~about[:, places].T, UNASKED).view(maps, task.height, task.width),
    )


def pairs_asked_about(task: ProbeTask, value: int) -> Bool[Tensor, "asked source"]:
    """Return which tokens lie ``value`` from each token; 0 for all others."""
    away = distances(task)
    return away == value if value else away > 0


def _two_of(count: int, maps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two different numbers below ``count`` for each map, all as likely."""
    first = torch.randint(count, (maps,), generator=generator)
    return first, (first + 1 + torch.randint(count - 1, (maps,), generator=generator)) % count


def _pictures(held_out: bool) -> Float[Tensor, "garments pixels"]:
    train, examined = _splits(str(fashion.FOLDER))
    return examined if held_out else train


@cache
def _splits(folder: str) -> tuple[Tensor, Tensor]:
    """Return the garments to train on and those held out; read once, since every batch asks for them."""
    found = fashion.load(Path(folder), name=fashion.NAME)
    return _levelled(found.train), _levelled(found.held_out)


def _levelled(split: Split) -> Float[Tensor, "garments pixels"]:
    """Return garments, each of mean 0 and deviation 1; those of one grey all over, 0."""
    assert isinstance(split, Pixels)
    pixels = F.avg_pool2d(split.images, CELL).flatten(1)
    return F.layer_norm(pixels, pixels.shape[1:])
