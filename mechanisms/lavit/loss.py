"""The diagonality-preserving loss of LaViT: the forms of it, and what its layers contribute to a training."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Form: TypeAlias = Literal["bounded", "printed", "sign-corrected"]

_HALF = (torch.float16, torch.bfloat16)
_SIGN: dict[Form, int] = {"bounded": -1, "printed": 1, "sign-corrected": -1}


def diagonality_loss(scores: Float[Tensor, "*leading queries keys"], form: Form = "bounded") -> Float[Tensor, ""]:
    """Return how far square scores are from symmetric with a strong diagonal, averaged over the leading axes.

    As printed, with N tokens, ``sum_ij |A_ij - A_ji| + sum_i ((N - 1) A_ii - sum_{j != i} A_ij)``: minimising it
    *lowers* the diagonal and has no lower bound. The paper prints ``A_j`` in the inner sum; the row's other entries are
    meant here. The forms:

        bounded         of the weights softmax(A), with the sign of the second sum turned, so that the diagonal rises;
                        never below -N (N - 1), which is the identity's.
        sign-corrected  of the scores A themselves, without a bound: it diverges.
        printed         of the scores, as printed: it diverges too.

    Args:
        scores: A before the softmax, as ``LessAttention.step`` hands them on.
        form: which of these.

    Raises:
        ValueError: the scores are not square (reduced keys).
    """
    queries, keys = scores.shape[-2:]
    if queries != keys:
        raise ValueError(f"{queries} queries but {keys} keys: a diagonal needs key_reduction=1")
    of = scores.softmax(-1) if form == "bounded" else scores
    asymmetry = (of - of.mT).abs().sum((-2, -1))
    trace = of.diagonal(dim1=-2, dim2=-1).sum(-1)
    excess = keys * trace - of.sum((-2, -1))
    return (asymmetry + _SIGN[form] * excess).mean()


def contributed(scores: Float[Tensor, "*leading tokens tokens"], coefficient: float) -> Float[Tensor, ""]:
    """Return what a layer adds to the loss that it is trained by.

    It is the bounded form over N (N - 1), so that -1 is the identity's and a coefficient means the same on maps of any
    size, in float32 at least: sums over N^2 scores leave the range of half precision.
    """
    tokens = scores.shape[-1]
    exact = scores.float() if scores.dtype in _HALF else scores
    return diagonality_loss(exact) * (coefficient / max(1, tokens * (tokens - 1)))
