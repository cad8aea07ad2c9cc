"""The diagonality-preserving loss of LaViT, which nothing here applies unless it is called."""

from __future__ import annotations

from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

Form: TypeAlias = Literal["bounded", "printed", "sign-corrected"]

COEFFICIENT = 1e-4
"""What the bounded loss is multiplied by before it is added to a cross-entropy.

Tried on scikit-learn's digits, 64 tokens, a VA and three LA layers of C 32 and 2 heads, the mean over the layers, 200
steps of AdamW, two seeds: right of 397 held-out images are 54 % without the loss, 63 % with 1e-5, 78 % with 1e-4, 30 %
with 1e-3 and 12 % with 1e-2, where attention becomes the identity. Other data was not tried.
"""
_SIGN: dict[Form, int] = {"bounded": -1, "printed": 1, "sign-corrected": -1}


def diagonality_loss(scores: Float[Tensor, "*leading queries keys"], form: Form = "bounded") -> Float[Tensor, ""]:
    """Return how far square scores are from symmetric with a strong diagonal, averaged over the leading axes.

    As printed, with N tokens, ``sum_ij |A_ij - A_ji| + sum_i ((N - 1) A_ii - sum_{j != i} A_ij)``: minimising it
    *lowers* the diagonal and has no lower bound. The paper prints ``A_j`` in the inner sum; the row's other entries are
    meant here. The forms:

        bounded         of the weights softmax(A), with the sign of the second sum turned, so that the diagonal rises;
                        never below -N (N - 1), which is the identity's. Times ``COEFFICIENT`` it is what to add to a
                        loss.
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
