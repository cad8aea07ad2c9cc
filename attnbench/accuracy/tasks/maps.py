"""The maps of each task, drawn from a seed: the same for every mechanism, whatever came before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnbench.accuracy.tasks import garments
from attnbench.accuracy.tasks.batch import UNASKED, Draw, TaskBatch, WantedMaps, apart, distances
from attnbench.accuracy.tasks.table import ProbeTask

KEYS = 16
"""Keys that there are."""
PRACTISED_PAIRS, EXAMINED_PAIRS = (2, 2, 4, 8), 8
"""Keys on a map, where the axis is their distance: few of them show first what is asked for."""


def draw(task: ProbeTask, *, seed: int, purpose: str, maps: int, value: int, held_out: bool = False) -> TaskBatch:
    """Return a batch that the seed and its purpose decide.

    Args:
        task: whose maps.
        seed: of the training, or of what a network is examined with.
        purpose: which batch it is; no two draw the same.
        maps: how many.
        value: of the task's axis.
        held_out: whether they are of images that nothing is trained on, where a task shows any.

    Raises:
        DataError: images that a task shows are not there, or cannot be read.
    """
    digits = hashlib.sha256(f"{seed} {task.name} {value} {purpose}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(digits))
    return _DRAWN[task.name](WantedMaps(task=task, generator=generator, maps=maps, value=value, held_out=held_out))


def channels(task: ProbeTask) -> int:
    """Return the channels of a task's maps."""
    return draw(task, seed=0, purpose="channels", maps=1, value=task.values[0]).maps.shape[-1]


def asked_about(task: ProbeTask, value: int) -> Bool[Tensor, "asked source"]:
    """Return which tokens each token may be asked about at a value of the axis, N x N."""
    return _ASKED[task.name](task, value)


def _shift(wanted: WantedMaps) -> TaskBatch:
    """A symbol on every token, and where it lies; asked is the symbol ``value`` tokens to the left."""
    task, generator, maps, value = wanted.task, wanted.generator, wanted.maps, wanted.value
    symbols = torch.randint(task.symbols, (maps, task.height, task.width), generator=generator)
    targets = torch.full_like(symbols, UNASKED)
    targets[:, :, value:] = symbols[:, :, : task.width - value]
    shown = F.one_hot(symbols, task.symbols).float()
    places = _places(task.height, task.width).expand(maps, -1, -1, -1)
    return TaskBatch(maps=torch.cat([shown, places], -1), targets=targets)


def _shift_asked(task: ProbeTask, value: int) -> Bool[Tensor, "asked source"]:
    down, right = apart(task)
    return (down == 0) & (right == value)


def _recall(wanted: WantedMaps) -> TaskBatch:
    """Maps on which the keys that are asked for lie ``value`` tokens away, more than half of that; 0 for anywhere."""
    task, generator, maps, value = wanted.task, wanted.generator, wanted.maps, wanted.value
    pairs = EXAMINED_PAIRS
    if value == 0:
        pairs = PRACTISED_PAIRS[int(torch.randint(len(PRACTISED_PAIRS), (), generator=generator))]
    found = _keys_and_values(task, generator, maps, pairs)
    if value == 0:
        return TaskBatch(maps=found.maps, targets=found.targets)
    own = torch.arange(task.height * task.width).expand(maps, -1)
    near = _recall_asked(task, value)[own, found.sources].view(found.targets.shape)
    return TaskBatch(maps=found.maps, targets=found.targets.masked_fill(~near, UNASKED))


def _recall_asked(task: ProbeTask, value: int) -> Bool[Tensor, "asked source"]:
    distance = distances(task)
    return (distance <= value) & (2 * distance > value)


def _recall_pairs(wanted: WantedMaps) -> TaskBatch:
    found = _keys_and_values(wanted.task, wanted.generator, wanted.maps, wanted.value)
    return TaskBatch(maps=found.maps, targets=found.targets)


def _recall_pairs_asked(task: ProbeTask, value: int) -> Bool[Tensor, "asked source"]:  # noqa: ARG001 - the same for all
    tokens = task.height * task.width
    return ~torch.eye(tokens, dtype=torch.bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recall(TaskBatch):
    sources: Int[Tensor, "batch tokens"]
    """The token on which the answer lies."""


def _keys_and_values(task: ProbeTask, generator: torch.Generator, maps: int, pairs: int) -> _Recall:
    """Draw maps of so many keys, each with a value, on tokens anywhere; all other tokens ask for one of the keys.

    Keys that are there and keys that are asked for have channels of their own.
    """
    tokens = task.height * task.width
    keys = torch.rand(maps, KEYS, generator=generator).argsort(1)[:, :pairs]
    values = torch.randint(task.symbols, (maps, pairs), generator=generator)
    places = torch.rand(maps, tokens, generator=generator).argsort(1)[:, :pairs]
    wanted = torch.randint(pairs, (maps, tokens), generator=generator)
    asking = torch.ones(maps, tokens, dtype=torch.bool).scatter_(1, places, value=False)
    shown = torch.full((maps, tokens), KEYS).scatter_(1, places, keys)
    worth = torch.full((maps, tokens), task.symbols).scatter_(1, places, values)
    asked = keys.gather(1, wanted).masked_fill(~asking, KEYS)
    channels = [_one_hot(asked, KEYS), _one_hot(shown, KEYS), _one_hot(worth, task.symbols)]
    targets = values.gather(1, wanted).masked_fill(~asking, UNASKED)
    return _Recall(
        maps=torch.cat(channels, -1).view(maps, task.height, task.width, -1),
        targets=targets.view(maps, task.height, task.width),
        sources=places.gather(1, wanted),
    )


def _one_hot(numbers: Int[Tensor, "batch tokens"], count: int) -> Float[Tensor, "batch tokens count"]:
    """Return numbers below ``count`` one-hot, and zeros for ``count`` itself."""
    return F.one_hot(numbers, count + 1)[..., :count].float()


def _places(height: int, width: int) -> Float[Tensor, "height width both"]:
    """Return each token's row and column, one-hot: what a mechanism without a position embedding has to be told."""
    rows = torch.eye(height)[:, None].expand(height, width, height)
    columns = torch.eye(width)[None].expand(height, width, width)
    return torch.cat([rows, columns], -1)


_DRAWN: Mapping[str, Draw] = {
    "shift": _shift, "recall": _recall, "recall-pairs": _recall_pairs, "same-different": garments.draw_pairs,
}  # fmt: skip
_ASKED: Mapping[str, Callable[[ProbeTask, int], Bool[Tensor, "asked source"]]] = {
    "shift": _shift_asked, "recall": _recall_asked, "recall-pairs": _recall_pairs_asked,
    "same-different": garments.pairs_asked_about,
}  # fmt: skip
