"""Torch itself: a module as it is, or as torch's compiler made it."""

from __future__ import annotations

from collections.abc import Iterable

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
    def why_unsupported(cls, cell: Cell) -> str:
        """Return why a cell is nothing for it: a type that is not of real numbers."""
        if cell.dtype in cls.dtypes:
            return ""
        return f"{cell.dtype} is what a runtime quantises to: --runtime onnxruntime"

    def prepare(self, model: nn.Module, x: Tensor, *, cell: Cell, examples: Iterable[Tensor]) -> Prepared:  # noqa: ARG002
        """Return the module."""
        return Prepared(forward=model, export="")
