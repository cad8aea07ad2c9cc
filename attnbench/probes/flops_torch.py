"""Multiply-adds by torch's own counter, on the meta device: no memory, no arithmetic.

Beside the total it tells the attention products apart, without knowing the mechanism: they are the matrix products
whose operands both depend on the input, where a projection multiplies the input with a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from attnbench.probes.shapes import leaves, result_of
from attnbench.probes.weightless import Inputs
from attnbench.probes.workless import is_workless

_aten = torch.ops.aten

_OPERANDS = {
    _aten.mm: (0, 1),
    _aten.bmm: (0, 1),
    _aten.mv: (0, 1),
    _aten.dot: (0, 1),
    _aten.addmm: (1, 2),
    _aten.addmv: (1, 2),
    _aten.baddbmm: (1, 2),
    _aten.addbmm: (1, 2),
}
"""Matrix products, and which of their arguments are multiplied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchCount:
    """What torch's counter finds in one forward pass."""

    macs: int
    macs_attention: int
    """Those of matrix products of two tensors that both depend on the input."""
    products: int
    """Those of all matrix products; the rest are convolutions."""
    uncounted: tuple[str, ...]
    """Operators that did more than elementwise work, norms, pooling or moving data, and have no formula. Sorted."""
    output_bytes: int
    """Of all tensors that the pass returned."""


def count_torch(model: nn.Module, inputs: Inputs) -> TorchCount:
    """Count a forward pass with FlopCounterMode, scaled_dot_product_attention held to its unfused form.

    Not every product of two activations is attention: gram matrices and products with weights that a router mixes
    count as well. Scores of learned queries do not, because the queries are parameters; depthwise convolutions
    with them (QnA) are convolutions. There the mechanism's closed form tells.

    Args:
        model: on the meta device, in evaluation mode, without gradients; see ``weightless``.
        inputs: of one image, on the meta device.
    """
    lineage = _Lineage(inputs)
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), lineage, counter:
        output = model(*inputs)
    counts: dict[Any, int] = counter.get_flop_counts().get("Global", {})
    return TorchCount(
        macs=sum(counts.values()) // 2,
        macs_attention=lineage.flops_attention // 2,
        products=sum(flops for op, flops in counts.items() if op in _OPERANDS) // 2,
        uncounted=tuple(sorted(lineage.ops - {str(op) for op in counts})),
        output_bytes=sum(leaf.nbytes for leaf in tree_leaves(output) if isinstance(leaf, Tensor)),
    )


def _formulas() -> dict[Any, Any]:
    """Return formulas for the matrix products that torch lacks, which a later torch's own replace."""
    missing = [op for op in _OPERANDS if op not in flop_registry]
    return {op: partial(_formula, op) for op in missing}


def _formula(op: Any, *shapes: Any, **_: Any) -> int:  # noqa: ANN401
    first, second = (shapes[index] for index in _OPERANDS[op])
    return int(2 * prod(first) * (second[-1] if len(second) > 1 else 1))


class _Lineage(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on the input through a forward pass, by storage, so that writes into a part count too."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops_attention = 0
        self.ops: set[str] = set()
        self._from_input: dict[int, torch.UntypedStorage] = {}  # held, so that an id stays its own
        self._mark(inputs)

    def _mark(self, values: Any) -> None:  # noqa: ANN401
        for value in leaves(values):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                self._from_input[id(storage)] = storage

    def _depends(self, values: Any) -> bool:  # noqa: ANN401
        tensors = (leaf for leaf in leaves(values) if isinstance(leaf, Tensor))
        return any(id(each.untyped_storage()) in self._from_input for each in tensors)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        out = result_of(func, args, kwargs or {})
        op = func.overloadpacket
        if self._depends((args, kwargs)):
            self._mark(out)
        if op in _OPERANDS and all(self._depends(args[index]) for index in _OPERANDS[op]):
            self.flops_attention += _formula(op, *(getattr(each, "shape", each) for each in args))
        if not is_workless(func):
            self.ops.add(str(op))
        return out
