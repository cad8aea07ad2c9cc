"""Torch itself: a module as it is, or as torch's compiler made it."""

from __future__ import annotations

from torch import Tensor, nn

from attnbench.record import Cell
from attnbench.runtimes.runtime import Prepared, Runtime


class TorchRuntime(Runtime):
    """Runs every device, mode and type of torch's."""

    name = "torch"
    extra = "torch"
    needs = ("torch",)
    dtypes = frozenset({"float32", "bfloat16", "float16"})

    @classmethod
    def why_unsupported(cls, cell: Cell) -> str:  # noqa: ARG003
        """Return nothing: what torch cannot do, a device, a kernel or the module says itself."""
        return ""

    def prepare(self, model: nn.Module, x: Tensor, *, cell: Cell) -> Prepared:  # noqa: ARG002
        """Return the module."""
        return Prepared(forward=model, export="")
