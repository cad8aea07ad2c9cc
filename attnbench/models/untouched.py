"""A copy of what a cell measures that no timed call has touched, run as plainly as can be.

It runs in a thread of its own, with autograd on and outside inference mode, eagerly: a layer that does less where it
believes to be timed has nothing here to know it by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from attnbench import devices
from attnbench.axes import OFF
from attnbench.devices import attention, casting
from attnbench.models import calls, subject
from attnbench.models.aside import aside
from attnbench.models.values import seed_all
from attnbench.record import Cell, Mode
from attnbench.runtimes.runtime import Prepared

T = TypeVar("T")
_CASTS = {torch.float64: nn.Module.double, torch.float32: nn.Module.float}


class Untouched:
    """A copy, and its input.

    Args:
        asked: the cell's subject.
        seed: of weights and input.
        exact: type that it is cast to after it was given its own, so that its weights are the same; None for its own.
    """

    def __init__(self, asked: subject.Subject, *, seed: int, exact: torch.dtype | None = None) -> None:
        self._asked = asked
        # What is exact casts nothing.
        self._cell = asked.cell if exact is None else replace(asked.cell, autocast=OFF)
        self.model, self.x = alone(asked, lambda: calls.place(asked, seed=seed))
        self.given = self.x
        """The input as the model is given it: of the exact type, where that is another."""
        self._values = calls.values(asked.cell, self.x)
        if exact is not None:
            _CASTS[exact](self.model)
            self.given = self.x.detach().to(exact).requires_grad_(self.x.requires_grad)
        if asked.cell.mode is Mode.INFER:
            self.model.requires_grad_(False)

    def fill(self, number: int) -> None:
        """Give the input the values of a number."""
        self._values.fill(number)
        if self.given is not self.x:
            self.given.data.copy_(self.x)

    def find(self, buffers: Mapping[str, Tensor]) -> None:
        """Let the next call find in its buffers what another's has found, as far as they have the same size."""
        own = dict(self.model.named_buffers())
        with torch.no_grad():
            for name, value in buffers.items():
                if name in own and own[name].shape == value.shape:
                    own[name].copy_(value)

    def taken_over(self, take: Callable[[Cell, nn.Module, Tensor], Prepared]) -> Callable[[Tensor], Any]:
        """Return what a runtime makes of the copy, where it is run."""
        return alone(self._asked, lambda: take(self._asked.cell, self.model, self.x)).forward

    def run(
        self,
        seed: int,
        *,
        forward: Callable[[Tensor], Any] | None = None,
        within: AbstractContextManager[object] | None = None,
    ) -> Any:  # noqa: ANN401 - a model's
        """Return what the copy gives for the values that its input has.

        Args:
            seed: of all generators.
            forward: what the model was compiled to; None for the model itself.
            within: entered for the call, in the thread that makes it.
        """

        def call() -> Any:  # noqa: ANN401
            with within or nullcontext():
                return self._call(forward or self.model)

        seed_all(seed)
        return alone(self._asked, call)

    def _call(self, forward: Callable[[Tensor], Any]) -> Any:  # noqa: ANN401
        if self._cell.mode is Mode.INFER:
            return casting.around(forward, self._cell)(self.given)
        return calls.call(self._cell, forward, self.given, forget=calls.forget(self.model, self.given))()


def alone(asked: subject.Subject, work: Callable[[], T]) -> T:
    """Do some work in a thread whose stack holds nothing of the harness, and return its result or raise its error.

    It computes in as many threads as whoever asks for it: how many those are is a thread's own, as is the device.
    """
    threads = torch.get_num_threads()

    def set_up_and_work() -> T:
        devices.of(asked.cell.device).set_up(threads=threads)
        with attention.allowed(asked.cell.sdpa):
            return work()

    return aside(set_up_and_work)
