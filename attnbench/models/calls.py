"""The call that is timed: a cell's module and input on its device, and a forward pass or a training step with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnbench import devices
from attnbench.devices import casting
from attnbench.models.subject import Subject, cast
from attnbench.models.values import InputValues, draw, seed_all
from attnbench.record import Cell, Mode, Scope

Call = Callable[[], object]
Forward = Callable[[Tensor], Any]
"""A module, or what it was compiled to."""


def place(asked: Subject, *, seed: int) -> tuple[nn.Module, Tensor]:
    """Build the module and its input on the cell's device and in its type: the same ones for the same seed."""
    where = devices.of(asked.cell.device).where
    seed_all(seed)
    model = cast(asked.build().to(where), asked.cell.dtype)
    x = asked.example()
    return model, x.detach().to(where).requires_grad_(x.requires_grad)


def values(cell: Cell, x: Tensor) -> InputValues:
    """Return what fills a cell's input with new values, the same in every process."""
    return InputValues(x, channels=-1 if cell.scope is Scope.LAYER else 1, seed=0)


def renewal(model: nn.Module, x: Tensor, cell: Cell) -> Callable[[], None]:
    """Return what drops the gradients that a call leaves behind, and gives the next call values of its own."""
    drop, filled = forget(model, x), values(cell, x)

    def renew() -> None:
        drop()
        filled.fill(draw())

    return renew


def call(cell: Cell, model: Forward, x: Tensor, *, forget: Callable[[], None]) -> Call:
    """Return what is timed: a forward pass without autograd, or forward and backward.

    A training step drops the gradients of the step before, so that each call allocates the same. There is no
    optimiser step: its cost depends on the parameters alone.

    Args:
        cell: whether to infer or to train.
        model: the module, compiled or not.
        x: its input.
        forget: drops the gradients of the step before.
    """
    forward = casting.around(model, cell)

    @torch.inference_mode()
    def infer() -> object:
        return forward(x)

    def train() -> object:
        forget()
        y = forward(x)
        outputs = outputs_of(y)
        torch.autograd.backward(outputs, [torch.ones_like(each) for each in outputs])
        return y

    return infer if cell.mode is Mode.INFER else train


def outputs_of(y: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """Return what a module returned as a sequence: heads of dense tasks have several outputs."""
    return (y,) if isinstance(y, Tensor) else y


def forget(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return what drops the gradients that a training step leaves behind."""

    def drop() -> None:
        model.zero_grad(set_to_none=True)
        x.grad = None

    return drop
