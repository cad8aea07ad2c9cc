"""How far two results of one layer are apart, and how far its type lets them be. Tensors in, numbers out.

Two computations of one layer in one type differ by rounding, which depends on the order of sums: kernels, threads and
compilers choose it. How much that comes to is the layer's affair, and it can be measured: by how far an untouched copy
in that type is from one in a type that is exact beside it. A result may be a few times as far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Values = Mapping[str, Tensor]
Errors = dict[str, float]

TIGHT: Mapping[torch.dtype, float] = {torch.float32: 2**-16, torch.bfloat16: 2**-6, torch.float16: 2**-8}
"""Differences that are rounding whoever computed, relative to the largest value: 256 roundings of float32, 8 of a
half type. Deep networks have more to round and are judged by their own copy."""
EXACT: Mapping[torch.dtype, torch.dtype] = {
    torch.float32: torch.float64, torch.bfloat16: torch.float32, torch.float16: torch.float32,
}  # fmt: skip
"""The type that is exact beside another."""
FACTOR = 4.0
"""How many times as far from the exact result as the untouched copy a result may be: sums have another order."""
HALF = 2.0**-15
"""Errors that products of TF32 and half types may have: their values are rounded to 11 bits or fewer, 2^-12 of each at
most, and where many are summed the errors cancel in part."""
NOISE = 64.0
"""How many times as far as float32 a layer may be from float64 as rounding every operator once moves its result: sums
round more than once."""
_FLOOR = 1e-3
"""Share of the largest value of all tensors of a kind below which a tensor's own is not what errors are relative to:
the gradient of a key's bias is zero but for rounding."""


def errors(found: Values, right: Values) -> Errors:
    """Return for each tensor the largest difference, relative to the largest value that is right.

    Args:
        found: by name; what stands before a name's first space is its kind.
        right: the same names.
    """
    other = [name for name, tensor in right.items() if not _same(found.get(name), tensor)]
    if not other:  # as are the weights of most copies, some hundred tensors
        return dict.fromkeys(right, 0.0)
    own = {name: _largest(tensor) for name, tensor in right.items()}
    largest: dict[str, float] = {}
    for name, value in own.items():
        kind = name.partition(" ")[0]
        largest[kind] = max(largest.get(kind, 0.0), value)
    scales = {name: max(own[name], _FLOOR * largest[name.partition(" ")[0]]) for name in other}
    return dict.fromkeys(right, 0.0) | {
        name: _difference(found.get(name), right[name], scale) for name, scale in scales.items()
    }


def worst(found: Errors) -> tuple[str, float]:
    """Return the name and size of the largest error."""
    return max(found.items(), key=lambda each: each[1], default=("", 0.0))


def beyond(found: Errors, allowed: Errors | None, tight: float) -> Errors:
    """Return the errors that are more than rounding: above ``tight`` and above a few times those of the copy.

    Args:
        found: errors of a result.
        allowed: errors of the untouched copy; None where they are not known.
        tight: below this no error counts.
    """
    copy = allowed or {}
    return {
        name: error for name, error in found.items() if not (error <= tight or error <= FACTOR * copy.get(name, 0.0))
    }


def digits(error: float) -> int:
    """Return to how many digits results agree that are so far apart."""
    return math.floor(-math.log10(min(error, 1.0))) if error > 0 else 16


def _same(found: Tensor | None, right: Tensor) -> bool:
    """Return whether a tensor holds the very values that are right; where these are no numbers, it is not said."""
    return found is not None and found.dtype == right.dtype and torch.equal(found, right)


def _largest(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _difference(found: Tensor | None, right: Tensor, scale: float) -> float:
    if found is None or found.shape != right.shape:
        return math.inf
    found, right = found.double(), right.double()
    odd = ~right.isfinite()
    if bool((found.isfinite() == odd).any()):  # in half types gradients overflow, in both or in none
        return math.inf
    difference = (found - right)[~odd]
    largest = float(difference.abs().max()) if difference.numel() else 0.0
    return (largest / scale if scale else math.inf) if largest else 0.0
