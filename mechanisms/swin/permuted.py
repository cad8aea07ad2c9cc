"""Rows in another order, with a backward pass that gathers as the forward pass does.

The backward pass of torch's ``index_select`` adds into zeros, since an index may occur twice. In a permutation none
does, and reading the gradient by the inverse is one copy.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

Rows: TypeAlias = Float[Tensor, "tokens dim"]
Order: TypeAlias = Int[Tensor, " tokens"]


def permuted(x: Rows, order: Order, inverse: Order) -> Rows:
    """Return the rows of a matrix in an order in which each occurs once; the inverse leads back."""
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_exporting():
        return _Permuted.apply(x, order, inverse)  # type: ignore[no-any-return]
    return x.index_select(0, order)


class _Permuted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Rows, order: Order, inverse: Order) -> Rows:  # noqa: ANN401 - torch leaves it untyped
        ctx.save_for_backward(order, inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, grad: Rows) -> tuple[Rows, None, None]:  # noqa: ANN401
        order, inverse = ctx.saved_tensors
        return permuted(grad, inverse, order), None, None
