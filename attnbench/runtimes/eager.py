"""Torch itself: a module as it is, or as torch's compiler made it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnbench.axes import INT8, OFF
from attnbench.record import Cell, Mode
from attnbench.runtimes.onnx import quietly
from attnbench.runtimes.runtime import CannotRunError, Prepared, Runtime, blamed_on


class TorchRuntime(Runtime):
    """Runs every device, mode and type of torch's."""

    name = "torch"
    extra = "attnbench[torchao]"
    needs = ("torch",)
    quantizers = ("torchao",)
    dtypes = frozenset({"float32", "bfloat16", "float16", INT8})

    @classmethod
    def why_unsupported(cls, cell: Cell) -> str:
        """Return why a cell cannot be cast or quantised; what else torch cannot do it or the module says itself."""
        if cell.autocast != OFF and cell.dtype != "float32":
            return f"--autocast casts a module of float32; this one is of {cell.dtype}"
        if cell.dtype != INT8:
            return ""
        if cell.mode is not Mode.INFER:
            return "int8 is for inference: what is quantised after training is not trained"
        return cls.why_not_quantizing()

    def prepare(self, model: nn.Module, x: Tensor, *, cell: Cell) -> Prepared:  # noqa: ARG002
        """Return the module."""
        return Prepared(forward=model, export="")

    def quantize(self, model: nn.Module, x: Tensor, *, cell: Cell, samples: Sequence[Tensor]) -> Prepared:  # noqa: ARG002
        """Return a copy of a module with its linear layers in 8 bits, as torchao makes them.

        Their weights have a scale for each output, and inputs one for each token, found in the call. A layer that is
        never called stays as it is: a module that takes its weights for products of its own has no kernel for them.
        """
        linear = _linear(model)
        if not linear:
            raise CannotRunError("torchao quantises nn.Linear alone, and it has none")
        called = _called(model, x)
        with blamed_on("torchao does not quantise it"), quietly():
            from torchao import quantization  # noqa: PLC0415 - an extra

            found = copy.deepcopy(model)
            quantization.quantize_(
                found, quantization.Int8DynamicActivationInt8WeightConfig(), filter_fn=lambda _, name: name in called
            )
        # Small ones stay as they are in some of its releases, which it says nowhere.
        done = sum(type(each.weight.data) is not Tensor for each in _linear(found))
        if not done:
            raise CannotRunError(f"torchao quantises none of its {len(linear)} nn.Linear")
        said = f"int8: {done} of {len(linear)} nn.Linear by torchao, ranges found in each call; the rest float32"
        return Prepared(forward=found, export="", remark=said)


def _linear(model: nn.Module) -> list[nn.Linear]:
    return [each for each in model.modules() if isinstance(each, nn.Linear)]


@torch.inference_mode()
def _called(model: nn.Module, x: Tensor) -> frozenset[str]:
    """Return the names of the linear layers that a call of a module calls."""
    found, hooks = set[str](), []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: found.add(name)))
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return frozenset(found)
