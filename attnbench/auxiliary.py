"""Losses of a mechanism's own, added to what it is trained on: contributed in a forward pass, heard by a training.

A mechanism calls ``contribute`` in its forward pass, with a scalar that is weighted already. Where nobody listens, in a
timed call or an evaluation, that does nothing; ``is_heard`` says so beforehand, where working the loss out costs
something. Nothing is kept in the layer, so a loss reaches the training however deep in a network its layer stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_HEARD: list[list[Tensor]] = []
"""What each training that listens has heard of this forward pass, the innermost last."""


def is_heard() -> bool:
    """Return whether a training listens to this forward pass.

    Example:
        >>> is_heard()
        False
        >>> with listening():
        ...     is_heard()
        True
    """
    return bool(_HEARD)


def contribute(loss: Tensor) -> None:
    """Add a loss to what is trained on, if somebody listens.

    Args:
        loss: a scalar, times its coefficient.

    Raises:
        ValueError: somebody listens, and it is no scalar of floating point.

    Example:
        >>> import torch
        >>> scores = torch.ones(3, requires_grad=True)
        >>> with listening() as heard:
        ...     contribute(0.5 * scores.square().sum())
        >>> heard
        [tensor(1.5000, grad_fn=<MulBackward0>)]
    """
    if not _HEARD:
        return
    if loss.numel() != 1 or not loss.is_floating_point():
        raise ValueError(f"a mechanism's own loss is one floating-point number, got {loss.dtype} {tuple(loss.shape)}")
    _HEARD[-1].append(loss)


@contextmanager
def listening() -> Iterator[list[Tensor]]:
    """Hear what layers contribute within the context, as a list that it fills."""
    heard: list[Tensor] = []
    _HEARD.append(heard)
    try:
        yield heard
    finally:
        _HEARD.pop()


def added(loss: Tensor, heard: list[Tensor]) -> Tensor:
    """Return a loss with what was heard added to it; without any it is the very same."""
    for each in heard:
        loss = loss + each.reshape(()).to(loss)
    return loss


def not_finite(loss: float, heard: list[Tensor]) -> str:
    """Return of a loss that is not finite what it is, and whether it is so by what was heard.

    Example:
        >>> not_finite(math.nan, [])
        'the loss is nan'
    """
    own = [each.item() for each in heard if not math.isfinite(each.item())]
    return f"the loss is {loss}" + (f", by the mechanism's own, which is {own[0]}" if own else "")
