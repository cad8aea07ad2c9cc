"""Windows whose scores are too far below the map's best for one shift of the exponentials, offset by offset.

A pass over the map for every offset of the window, the softmax in float64: exact for any finite scores, in memory
that does not grow with the window, and slow. It runs only if there is such a window.

Whether there is one is known only to the device. The question is therefore asked inside an operator of its own,
which ``torch.compile`` does not look into. On CUDA the host waits for the answer. A stream that is being captured
into a graph cannot be asked: there, far windows are zero. A graph that is exported has the question in it, as a
branch, and both answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor
from torch.autograd.function import once_differentiable

Offset: TypeAlias = tuple[int, int]


def far_windows(scores: Tensor, values: Tensor, bias: Tensor, scale: Tensor, far: Tensor, *, stride: int) -> Tensor:
    """Return the result of the far windows and zero for the others, summed over the queries.

    Args:
        scores: (B, H, W, queries, heads).
        values: (B, H, W, heads, head_dim).
        bias: added to the scores by offset, (queries, heads, k, k).
        scale: multiplies the softmax by offset, (queries, heads, k, k).
        far: which windows are far, (B, rows, columns, queries, heads).
        stride: tokens between the centres of neighbouring windows.

    Returns:
        (B, rows, columns, heads, head_dim), in the type of the scores.
    """
    result: Tensor
    if scores.is_meta:  # no numbers are far apart: counted is what every map costs, and only a run can tell of more
        result = _like_result(scores, values, bias, scale, far)
    elif torch.compiler.is_exporting():
        result = _branched(scores, values, bias, scale, far, stride=stride)
    elif torch.is_grad_enabled():
        result = _FarWindows.apply(scores, values, bias, scale, far, stride)
    else:  # tying it to a backward pass that never comes costs as long as the operator
        result = torch.ops.attnbench_qna.far_windows(scores, values, bias, scale, far, stride=stride)
    return result


def _branched(scores: Tensor, values: Tensor, bias: Tensor, scale: Tensor, far: Tensor, *, stride: int) -> Tensor:
    """Return what the operator does in a few steps that a graph can hold, all offsets at once."""

    def windows(maps: Tensor) -> Tensor:
        return torch.stack([_seen(maps, offset, far, stride) for offset in _offsets(bias)], -1)

    def summed(scores: Tensor, values: Tensor, bias: Tensor, scale: Tensor, far: Tensor) -> Tensor:
        logits = windows(_padded(scores.double(), bias, -math.inf)) + bias.double().flatten(2)
        shares = logits.softmax(-1).to(scores.dtype) * far.unsqueeze(-1)
        coefficients = (shares * scale.flatten(2)).sum(3)
        return (windows(_padded(values, bias, 0.0)) * coefficients.unsqueeze(4)).sum(-1)

    def nothing(_scores: Tensor, values: Tensor, *_: Tensor) -> Tensor:
        return torch.zeros_like(values[:, ::stride, ::stride])

    result: Tensor = torch.cond(far.any(), summed, nothing, (scores, values, bias, scale, far))
    return result


class _FarWindows(torch.autograd.Function):
    """Ties the operator to its backward pass."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:  # noqa: ANN401 - as torch declares it
        *tensors, ctx.stride = arguments
        ctx.save_for_backward(*tensors)
        result: Tensor = torch.ops.attnbench_qna.far_windows(*tensors, stride=ctx.stride)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as torch declares it
        *inputs, far = ctx.saved_tensors
        operator = torch.ops.attnbench_qna.far_windows_backward
        return (*operator(grad.contiguous(), *inputs, far=far, stride=ctx.stride), None, None)


def _forward(scores: Tensor, values: Tensor, bias: Tensor, scale: Tensor, far: Tensor, *, stride: int) -> Tensor:
    result = _like_result(scores, values, bias, scale, far).zero_()
    if _nothing_to_do(far):
        return result
    values = _padded(values, bias, 0.0)
    for offset, share in _shares(scores, bias, far, stride):
        coefficient = (share * _at(scale, offset)).sum(3)
        result.addcmul_(coefficient.unsqueeze(-1), _seen(values, offset, far, stride))
    return result


def _backward(
    grad: Tensor, scores: Tensor, values: Tensor, bias: Tensor, scale: Tensor, *, far: Tensor, stride: int
) -> tuple[Tensor, ...]:
    if _nothing_to_do(far):
        return tuple(empty.zero_() for empty in _like_gradients(grad, scores, values, bias, scale))
    padded = _padded(values, bias, 0.0)
    d_scores, d_values = torch.zeros_like(_padded(scores, bias, 0.0)), torch.zeros_like(padded)
    d_bias, d_scale, mean = torch.zeros_like(bias), torch.zeros_like(scale), torch.zeros_like(far, dtype=grad.dtype)
    for offset, share in _shares(scores, bias, far, stride):
        slope = (grad * _seen(padded, offset, far, stride)).sum(-1).unsqueeze(3)
        mean += share * slope * _at(scale, offset)
        _at(d_scale, offset).copy_((share * slope).sum((0, 1, 2)))
        _seen(d_values, offset, far, stride).addcmul_((share * _at(scale, offset)).sum(3).unsqueeze(-1), grad)
    for offset, share in _shares(scores, bias, far, stride):
        slope = (grad * _seen(padded, offset, far, stride)).sum(-1).unsqueeze(3)
        d_score = share * (slope * _at(scale, offset) - mean)
        _at(d_bias, offset).copy_(d_score.sum((0, 1, 2)))
        _seen(d_scores, offset, far, stride).add_(d_score)
    return _cropped(d_scores, bias), _cropped(d_values, bias), d_bias, d_scale


def _nothing_to_do(far: Tensor) -> bool:
    return (far.is_cuda and torch.cuda.is_current_stream_capturing()) or not bool(far.any())


def _shares(scores: Tensor, bias: Tensor, far: Tensor, stride: int) -> Iterator[tuple[Offset, Tensor]]:
    """Yield every offset with its share of the softmax of each window, zero in windows that are not far."""
    padded, exact_bias = _padded(scores.double(), bias, -math.inf), bias.double()
    total = torch.full_like(far, -math.inf, dtype=torch.float64)
    for offset in _offsets(bias):
        total = torch.logaddexp(total, _seen(padded, offset, far, stride) + _at(exact_bias, offset))
    for offset in _offsets(bias):
        logit = _seen(padded, offset, far, stride) + _at(exact_bias, offset)
        yield offset, (logit - total).exp_().mul_(far).to(scores.dtype)


def _offsets(kernel: Tensor) -> Iterator[Offset]:
    return product(range(kernel.shape[2]), range(kernel.shape[3]))


def _at(kernel: Tensor, offset: Offset) -> Tensor:
    """Return a view of what a kernel (queries, heads, k, k) holds for an offset, (queries, heads)."""
    return kernel[:, :, offset[0], offset[1]]


def _padded(maps: Tensor, kernel: Tensor, value: float) -> Tensor:
    """Return maps (B, H, W, a, b) with a border of half a window."""
    border = kernel.shape[-1] // 2
    return F.pad(maps, (0, 0, 0, 0, border, border, border, border), value=value)


def _cropped(maps: Tensor, kernel: Tensor) -> Tensor:
    """Return maps without the border that ``_padded`` gave them."""
    border = kernel.shape[-1] // 2
    return maps[:, border : maps.shape[1] - border, border : maps.shape[2] - border].contiguous()


def _seen(padded: Tensor, offset: Offset, far: Tensor, stride: int) -> Tensor:
    """Return a view of what each window has at an offset, (B, rows, columns, a, b)."""
    rows, columns = (
        slice(start, start + stride * (windows - 1) + 1, stride)
        for start, windows in zip(offset, far.shape[1:3], strict=True)
    )
    return padded[:, rows, columns]


def _like_result(scores: Tensor, values: Tensor, _bias: Tensor, _scale: Tensor, far: Tensor, **_options: int) -> Tensor:
    return scores.new_empty((*far.shape[:3], *values.shape[3:]))


def _like_gradients(_grad: Tensor, *inputs: Tensor, **_options: Tensor | int) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs)


def _register() -> None:
    inputs = "Tensor scores, Tensor values, Tensor bias, Tensor scale"
    forward, backward = "attnbench_qna::far_windows", "attnbench_qna::far_windows_backward"
    torch.library.define(forward, f"({inputs}, Tensor far, *, int stride) -> Tensor")
    torch.library.define(
        backward, f"(Tensor grad, {inputs}, *, Tensor far, int stride) -> (Tensor, Tensor, Tensor, Tensor)"
    )
    torch.library.impl(forward, "default", _forward)
    torch.library.impl(backward, "default", _backward)
    torch.library.register_fake(forward, _like_result)
    torch.library.register_fake(backward, _like_gradients)


_register()
