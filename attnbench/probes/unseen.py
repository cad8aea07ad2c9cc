"""How much work an operator may do that no counter has a formula for: estimated from what it is given and returns."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from attnbench.probes.shapes import leaves
from attnbench.probes.summed import plain

_MIXED = {
    "upsample_linear": 2,
    "upsample_bilinear": 4,
    "upsample_bicubic": 16,
    "upsample_trilinear": 8,
    "grid_sampler": 4,
    "roi_align": 16,
}
"""Elements that an interpolation mixes for each one that it returns, by the start of its name."""
_ABROAD = ("torchvision::nms", "torchvision::roi_align", "torchvision::roi_pool")
"""Operators outside torch of which it is known that they do little."""
_CUBIC = ("linalg_", "cholesky", "lu_", "triangular_solve", "trilinear", "svd", "qr", "inverse", "det")
"""Starts of the names of what takes as many multiply-adds as its elements times a side."""


def estimate(func: Any, args: tuple[Any, ...], out: Any) -> float:  # noqa: ANN401
    """Return the multiply-adds that an operator without a formula is worth, infinity where nobody can tell.

    An estimate by kind: Fourier transforms 2.5 N log2 N (half of the FLOPs of Cooley and Tukey, Math. Comp. 19, 1965),
    interpolations as many as they mix, decompositions of matrices their elements times the side, and all else in torch
    one for each element that it takes or returns. An operator of somebody else's can do anything.

    Args:
        func: an overload of an operator.
        args: its positional arguments.
        out: what it returned.
    """
    given, made = _tensors(args), _tensors(out)
    if func.namespace not in {"aten", "prims"} and not func.name().startswith(_ABROAD):
        return math.inf
    name, returned = plain(func.overloadpacket.__name__), sum(each.numel() for each in made)
    if name.startswith("fft"):
        return 2.5 * returned * math.log2(max(2, _transformed(given[0], args)))
    mixed = next((each for start, each in _MIXED.items() if name.startswith(start)), None)
    if mixed:
        return float(mixed * returned)
    side = max((each.shape[-1] for each in given if each.dim()), default=1) if name.startswith(_CUBIC) else 1
    return float(side * (sum(each.numel() for each in given) + returned))


def _transformed(signal: Tensor, args: tuple[Any, ...]) -> int:
    """Return the elements of one Fourier transform, which is taken along the sides that the operator names."""
    sides = args[1] if len(args) > 1 and isinstance(args[1], list) else [-1]
    return math.prod(signal.shape[side] for side in sides)


def _tensors(values: Any) -> list[Tensor]:  # noqa: ANN401
    return [each for each in leaves(values) if isinstance(each, Tensor)]
