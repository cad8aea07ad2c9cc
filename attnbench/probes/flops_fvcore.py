"""Multiply-adds by fvcore: a second, independent count, from a trace of the module instead of its operators."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn

from attnbench.probes import summed_in_trace
from attnbench.probes.meta_trace import traceable_on_meta
from attnbench.probes.weightless import Inputs
from attnbench.probes.workless import is_workless_kind

with warnings.catch_warnings():  # on import fvcore scripts a loss, which torch warns of, in 2.11 and 2.15 each its way
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import (
        batchnorm_flop_jit,
        conv_flop_jit,
        elementwise_flop_counter,
        get_shape,
        linear_flop_jit,
        norm_flop_counter,
    )

Handle = Callable[[Sequence[Any], Sequence[Any]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FvcoreCount:
    """What fvcore finds in one forward pass."""

    macs: int
    products: int
    """Those of matrix products, attention included; the rest are convolutions."""
    missed: tuple[str, ...]
    """Operators in the trace that fvcore counts as nothing although they do work. Sorted."""
    elementwise: int = 0
    """What fvcore counts besides: norms, adaptive pooling and interpolation, by its own rules."""
    activations: int = 0
    """Elements that matrix products and convolutions return."""


def count_fvcore(model: nn.Module, inputs: Inputs) -> FvcoreCount:
    """Count a forward pass with fvcore's FlopCountAnalysis, with handlers for the products that it misses.

    What fvcore counts besides multiply-adds (``_BESIDES``) stands by itself, so that the columns compare. Activations
    are as in its ActivationCountAnalysis; those of fused attention are the unfused form's, scores and sums.

    Args:
        model: on the meta device, in evaluation mode, without gradients; see ``weightless``.
        inputs: of one image, on the meta device.
    """
    elementwise: list[int] = []
    activations: list[int] = []
    handles = _HANDLES | {kind: _noting(_HANDLES[kind], activations, _returned) for kind in _PRODUCTS}
    handles |= {kind: _noting(_HANDLES.get(kind, _nothing), elementwise, besides) for kind, besides in _BESIDES.items()}
    analysis = FlopCountAnalysis(model, inputs).set_op_handle(**handles)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad(), traceable_on_meta():
        macs = int(analysis.total())
    missed = {kind for kind in analysis.unsupported_ops() if not is_workless_kind(kind)}
    return FvcoreCount(
        macs=macs,
        products=macs - int(analysis.by_operator().get("conv", 0)),
        missed=tuple(sorted(missed)),
        elementwise=sum(elementwise),
        activations=sum(activations),
    )


def _noting(handle: Handle, notes: list[int], noted: Handle) -> Handle:
    """Return a handler that also notes something else of each operator."""

    def noting(inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:  # noqa: ANN401 - a number or a counter
        notes.append(int(noted(inputs, outputs)))
        return handle(inputs, outputs)

    return noting


def _returned(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Return how many elements a product returns; of fused attention, its scores too."""
    fused = outputs[0].node().kind() == _FUSED
    scores = prod(get_shape(inputs[0])[:-1]) * get_shape(inputs[1])[-2] if fused else 0
    return int(prod(get_shape(outputs[0])) + scores)


def _product(left: int) -> Handle:
    """Return a handler for a product whose left operand is at this place: each element of the output sums K terms."""
    return lambda inputs, outputs: prod(get_shape(outputs[0])) * get_shape(inputs[left])[-1]


def _sum_of_products(inputs: Sequence[Any], _: Sequence[Any]) -> int:
    first, second = get_shape(inputs[1]), get_shape(inputs[2])
    return int(prod(first) * second[-1])


def _attention(inputs: Sequence[Any], _: Sequence[Any]) -> int:
    query, key, value = (get_shape(each) for each in inputs[:3])
    return int(prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def _einsum(inputs: Sequence[Any], _: Sequence[Any]) -> int:
    return einsum_macs(inputs[0].toIValue(), [get_shape(each) for each in inputs[1].node().inputs()])


def einsum_macs(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """Return the multiply-adds of an einsum, contracted from left to right as torch does without opt_einsum.

    A pair of operands of which nothing is summed is an elementwise product, which nobody counts.
    """
    given, arrow, result = equation.replace(" ", "").partition("->")
    terms = [_spelled_out(term, len(shape)) for term, shape in zip(given.split(","), shapes, strict=True)]
    everything = "".join(terms)
    kept = set(_spelled_out(result, 0)) if arrow else {each for each in everything if everything.count(each) == 1}
    kept |= {each for each in everything if each.isdigit()}
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    macs, left = 0, set(terms[0])
    for index, term in enumerate(terms[1:], 2):
        right, needed = set(term), kept.union(*terms[index:])
        if (left & right) - needed:
            macs += prod(sizes[letter] for letter in (left & right) | ((left | right) & needed))
        left = (left | right) & needed
    return macs


def _spelled_out(term: str, sides: int) -> str:
    """Return an operand's letters, with the sides that an ellipsis stands for numbered from the right."""
    hidden = sides - len(term.replace("...", ""))
    return term.replace("...", "".join(str(side) for side in reversed(range(hidden))))


def _distances(inputs: Sequence[Any], _: Sequence[Any]) -> int:
    first, second = (get_shape(each) for each in inputs[:2])
    batch = np.broadcast_shapes(first[:-2], second[:-2])
    return int(prod(batch) * first[-2] * second[-2] * first[-1])


def _rows(inputs: Sequence[Any], _: Sequence[Any]) -> int:
    first, second = inputs[:2]
    nothing = all(map(summed_in_trace.of_weights, (first, second)))
    return 0 if nothing else prod(np.broadcast_shapes(get_shape(first), get_shape(second)))


def _nothing(_: Sequence[Any], __: Sequence[Any]) -> int:
    return 0


_FUSED = "aten::scaled_dot_product_attention"
_NAMES_OF_PRODUCTS = ("_convolution", "addmm", "baddbmm", "bmm", "einsum", "linear", "matmul", "mm")
_PRODUCTS = (*(f"aten::{name}" for name in _NAMES_OF_PRODUCTS), _FUSED)
"""What fvcore counts the activations of, and what comes to the same."""
_BESIDES: dict[str, Handle] = {
    "aten::adaptive_avg_pool2d": elementwise_flop_counter(1, 0),
    "aten::batch_norm": batchnorm_flop_jit,
    "aten::grid_sampler": elementwise_flop_counter(0, 4),
    "aten::group_norm": norm_flop_counter(2),
    "aten::instance_norm": norm_flop_counter(1),
    "aten::layer_norm": norm_flop_counter(2),
    "aten::upsample_bilinear2d": elementwise_flop_counter(0, 4),
    "aten::upsample_nearest2d": elementwise_flop_counter(0, 1),
}
"""What fvcore counts besides multiply-adds: an element of a layer or group norm 5 (4 without weights), of a batch norm
2 (1), of what is pooled adaptively 1, and of what an interpolation returns 1 (nearest) or 4 (bilinear)."""
_HANDLES: dict[str, Handle] = {
    "aten::_convolution": conv_flop_jit,
    "aten::linear": linear_flop_jit,
    **{f"aten::{name}": _product(0) for name in ("matmul", "mm", "bmm", "mv", "dot", "_int_mm")},
    **{f"aten::{name}": _product(1) for name in ("addmm", "baddbmm", "addmv")},
    "aten::addbmm": _sum_of_products,
    "aten::einsum": _einsum,
    _FUSED: _attention,
    "aten::cdist": _distances,
    "aten::linalg_vecdot": _rows,
    **summed_in_trace.HANDLES,
}
