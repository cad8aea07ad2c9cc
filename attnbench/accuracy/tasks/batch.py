"""What the drawing of every task's maps has in common: what is asked for, what is handed back, and where tokens lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnbench.accuracy.tasks.table import ProbeTask

UNASKED = -100
"""The target of a token of which nothing is asked, which torch's cross-entropy leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedMaps:
    """Maps that are to be drawn."""

    task: ProbeTask
    generator: torch.Generator
    maps: int
    value: int
    """Of the task's axis."""
    held_out: bool
    """Whether networks are examined with them: what maps show is then of images that nothing is trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBatch:
    """Maps with what is to be said of each token."""

    maps: Float[Tensor, "batch height width channels"]
    targets: Int[Tensor, "batch height width"]
    """The number of a symbol, ``UNASKED`` where nothing is asked."""


Draw: TypeAlias = Callable[[WantedMaps], TaskBatch]


def apart(task: ProbeTask) -> tuple[Int[Tensor, "one other"], Int[Tensor, "one other"]]:
    """Return how many rows and columns each token lies below and to the right of each other one."""
    numbers = torch.arange(task.height * task.width)
    rows, columns = numbers // task.width, numbers % task.width
    return rows[:, None] - rows, columns[:, None] - columns


def distances(task: ProbeTask) -> Int[Tensor, "one other"]:
    """Return how many tokens each lies away from each other one: the larger of rows and columns."""
    down, right = apart(task)
    return torch.maximum(down.abs(), right.abs())
