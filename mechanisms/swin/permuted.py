"""Tokens in another order, with a backward pass that gathers as the forward pass does.

The backward pass of torch's ``index_select`` adds into zeros, since an index may occur twice. In a permutation none
does, and reading the gradient by the inverse is one copy.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

Tokens: TypeAlias = Float[Tensor, "..."]
Order: TypeAlias = Int[Tensor, " tokens"]


def permuted(x: Tokens, order: Order, inverse: Order, *, axis: int = 0) -> Tokens:
    """Return what lies along an axis in an order in which each occurs once; the inverse leads back."""
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_exporting():
        return _Permuted.apply(x, order, inverse, axis)  # type: ignore[no-any-return]
    return x.index_select(axis, order)


class _Permuted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Order, inverse: Order, axis: int) -> Tensor:  # noqa: ANN401 - torch leaves it untyped
        ctx.save_for_backward(order, inverse)
        ctx.axis = axis
        return x.index_select(axis, order)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        order, inverse = ctx.saved_tensors
        return permuted(grad, inverse, order, axis=ctx.axis), None, None, None
