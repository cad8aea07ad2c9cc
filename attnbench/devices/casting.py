"""Automatic mixed precision of torch's: the axis ``autocast``.

It is entered within each call, as it is in code that uses it, and so is part of what is timed: weights are cast anew in
each. A backward pass stands outside, as torch asks for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attnbench.axes import OFF
from attnbench.record import Cell

Forward = Callable[[Tensor], Any]


def entered(cell: Cell) -> AbstractContextManager[object]:
    """Return the context that a cell's forward passes run in."""
    return nullcontext() if cell.autocast == OFF else _of(cell)


def around(forward: Forward, cell: Cell) -> Forward:
    """Return what makes a forward pass as a cell asks for; where it does not, the same object."""
    if cell.autocast == OFF:
        return forward
    within = partial(_of, cell)  # held from before a plugin's calls

    def cast(x: Tensor) -> Any:  # noqa: ANN401 - a model's
        with within():
            return forward(x)

    return cast


def why_not(cell: Cell) -> str:
    """Return why a cell's device cannot be cast on, empty if it can: torch only warns, and casts nothing."""
    if cell.autocast == OFF:
        return ""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with (within := _of(cell)):
                on = torch.is_autocast_enabled(within.device) and torch.get_autocast_dtype(within.device)
        except (RuntimeError, AssertionError) as error:
            return f"torch does not cast on {cell.device}: {' '.join(str(error).split())}"
    if on is _type(cell):
        return ""
    told = "; ".join(" ".join(str(each.message).split()) for each in said)
    return f"torch does not cast to {cell.autocast} on {cell.device}{': ' if told else ''}{told}"


def _of(cell: Cell) -> torch.autocast:
    return torch.autocast(cell.device.partition(":")[0], dtype=_type(cell))


def _type(cell: Cell) -> torch.dtype:
    found: torch.dtype = getattr(torch, cell.autocast)
    return found
