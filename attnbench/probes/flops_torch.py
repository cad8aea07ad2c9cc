"""Multiply-adds by torch's own counter, on the meta device: no memory, no arithmetic.

Beside the total it tells the attention products apart, without knowing the mechanism: they are the matrix products
whose operands both depend on the input, where a projection multiplies the input with a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from attnbench.probes import unseen
from attnbench.probes.shapes import leaves, result_of
from attnbench.probes.summed import SummedProducts
from attnbench.probes.weightless import Inputs
from attnbench.probes.workless import is_workless

_aten = torch.ops.aten

_DISTANCES = (_aten._cdist_forward, _aten._euclidean_dist)  # noqa: SLF001 - ``torch.cdist``, of few rows and of many
_OPERANDS = {
    _aten.mm: (0, 1),
    _aten.bmm: (0, 1),
    _aten.mv: (0, 1),
    _aten.dot: (0, 1),
    _aten.addmm: (1, 2),
    _aten.addmv: (1, 2),
    _aten.baddbmm: (1, 2),
    _aten.addbmm: (1, 2),
    _aten._int_mm: (0, 1),  # noqa: SLF001 - the product of whole numbers
    **dict.fromkeys(_DISTANCES, (0, 1)),
}
"""Matrix products, and which of their arguments are multiplied; distances of rows cost as many."""
_FORMULAS = dict(flop_registry)
"""Torch's own as they were before any plugin was loaded. What a plugin adds for an operator of its own is counted, and
the operator stays one that no counter knows."""
ELEMENTWISE = "elementwise products"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchCount:
    """What torch's counter finds in one forward pass."""

    macs: int
    macs_attention: int
    """Those of products of two tensors that both depend on the input."""
    products: int
    """Those of all matrix products, and of elementwise ones that are then summed; the rest are convolutions."""
    uncounted: tuple[str, ...]
    """Operators that did more than elementwise work, norms, pooling or moving data, and have no formula. Sorted."""
    macs_least: int = 0
    """Those that no way of computing them saves: see ``_least``."""
    unseen: Mapping[str, float] = field(default_factory=dict)
    """What those may be worth in multiply-adds, infinity where nobody can tell, and elementwise products with them."""
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
    counter.flop_registry |= _FORMULAS
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), lineage, counter:
        output = model(*inputs)
    counts: dict[Any, int] = counter.get_flop_counts().get("Global", {})
    summed = lineage.summed
    return TorchCount(
        macs=sum(counts.values()) // 2 + summed.macs,
        macs_attention=lineage.flops_attention // 2 + summed.macs_attention,
        products=sum(flops for op, flops in counts.items() if op in _OPERANDS) // 2 + summed.macs,
        macs_least=lineage.macs_least,
        uncounted=tuple(sorted(lineage.unseen)),
        unseen=lineage.unseen | ({ELEMENTWISE: float(summed.unsummed)} if summed.unsummed else {}),
        output_bytes=sum(leaf.nbytes for leaf in tree_leaves(output) if isinstance(leaf, Tensor)),
    )


def _formulas() -> dict[Any, Any]:
    """Return formulas for the products that torch lacks, which a later torch's own replace."""
    return {op: partial(_formula, op) for op in _OPERANDS if op not in _FORMULAS}


def _formula(op: Any, *shapes: Any, **_: Any) -> int:  # noqa: ANN401
    first, second = (shapes[index] for index in _OPERANDS[op])
    if op in _DISTANCES:
        batch = np.broadcast_shapes(first[:-2], second[:-2])
        return int(2 * prod(batch) * first[-2] * second[-2] * first[-1])
    return int(2 * prod(first) * (second[-1] if len(second) > 1 else 1))


def _least(op: Any, args: tuple[Any, ...], out: Any, *, narrowest: int) -> int:  # noqa: ANN401
    """Return the multiply-adds of a product that it takes however it is computed: what a time can be held against.

    A convolution over k x k with stride 1 may take fewer than are counted: 2.25 times fewer after Winograd for 3 x 3
    (Lavin and Gray, CVPR 2016, arXiv:1509.09308), 5.06 times in tiles of 6 x 6, and k^2 times in the limit, which is
    what is taken here. Products in a narrower type than the input's have a rate of their own, and are left out.
    """
    if op not in _OPERANDS and op is not _aten.convolution:
        return 0
    first, second = (args[place] for place in _OPERANDS.get(op, (0, 1)))
    if not isinstance(first, Tensor) or first.itemsize < narrowest:
        return 0
    if op in _OPERANDS:
        return _formula(op, *(getattr(each, "shape", each) for each in args)) // 2
    stride, transposed, taps = args[3], args[6], prod(second.shape[2:])
    macs = (first if transposed else out).numel() * prod(second.shape[1:])
    return int(macs // taps if all(each == 1 for each in stride) or transposed else macs)


class _Lineage(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on the input through a forward pass, by storage, so that writes into a part count too."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops_attention = self.macs_least = 0
        self._narrowest = min((each.itemsize for each in inputs), default=0)
        self.summed = SummedProducts(self._depends)
        self.unseen: dict[str, float] = {}
        """What operators outside the classes of workless ones may be worth, by name."""
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
        if self._depends((args, kwargs)):
            self.macs_least += _least(op, args, out, narrowest=self._narrowest)
        if op in _OPERANDS or op in _FORMULAS:
            self.summed.hand_on(args)
        elif not self.summed.see(func, args, out) and not is_workless(func):
            self.unseen[str(op)] = self.unseen.get(str(op), 0) + unseen.estimate(func, args, out)
        return out
