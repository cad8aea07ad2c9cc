"""The diagonality-preserving loss of LaViT, which nothing here applies unless it is called."""

from __future__ import annotations

from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

Form: TypeAlias = Literal["printed", "sign-corrected"]

_SIGN: dict[Form, int] = {"printed": 1, "sign-corrected": -1}


def diagonality_loss(scores: Float[Tensor, "*leading queries keys"], form: Form = "printed") -> Float[Tensor, ""]:
    """Return how far square scores are from symmetric with a strong diagonal, averaged over the leading axes.

    As printed, with N tokens, ``sum_ij |A_ij - A_ji| + sum_i ((N - 1) A_ii - sum_{j != i} A_ij)``: minimising it
    *lowers* the diagonal and has no lower bound. ``"sign-corrected"`` turns the sign of the second sum, so that the
    diagonal rises; on scores before the softmax that has no lower bound either, on attention weights it has. The paper
    prints ``A_j`` in the inner sum; the row's other entries are meant here.

    Raises:
        ValueError: the scores are not square (reduced keys).
    """
    queries, keys = scores.shape[-2:]
    if queries != keys:
        raise ValueError(f"{queries} queries but {keys} keys: a diagonal needs key_reduction=1")
    asymmetry = (scores - scores.mT).abs().sum((-2, -1))
    trace = scores.diagonal(dim1=-2, dim2=-1).sum(-1)
    excess = keys * trace - scores.sum((-2, -1))
    return (asymmetry + _SIGN[form] * excess).mean()
