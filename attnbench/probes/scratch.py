"""Memory that torch's CPU kernels take for themselves while they run, which no tensor's shape tells.

Formulas fitted to the allocation events of torch 2.15 on AVX-512; plain convolutions agree to 1 %. On processors
where oneDNN blocks channels by 8 instead of 16 it takes a little less.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

_BLOCK = 16
"""oneDNN's own layout pads channels to a multiple of this."""
_FLOAT = 4
"""Bytes of an element that attention kernels accumulate in, whatever the dtype of q, k and v."""
_KEYS_AT_ONCE = 512
"""Keys that the attention kernels take at a time."""

_aten = torch.ops.aten


def scratch_bytes(func: Any, args: tuple[Any, ...], out: Any) -> int:  # noqa: ANN401 - whatever operators take
    """Return the bytes that one call of an operator takes on a CPU beyond its output; 0 where none are known.

    Args:
        func: the operator, an overload of ``torch.ops.aten``.
        args: its positional arguments, real or fake.
        out: what it returned.
    """
    formula = _FORMULAS.get(getattr(func, "overloadpacket", None))
    return formula(args, out) if formula else 0


def _convolution(args: tuple[Any, ...], out: Tensor) -> int:
    x: Tensor = args[0]
    weight: Tensor = args[1]
    stride, transposed, groups = args[3], args[6], args[8]
    if transposed:
        return 0
    kernel, layout = _kernel(args)
    if kernel == "Slow2d":
        return _columns(weight, out)
    if kernel != "Mkldnn":
        return 0
    if layout is torch.channels_last:
        return _moved(x, layout) + 2 * weight.nbytes
    return _moved(x, layout) + _reordered(x, weight, out, stride, groups)


def _convolution_backward(args: tuple[Any, ...], _: Any) -> int:  # noqa: ANN401
    grad, x, weight, _, *settings, wanted = args
    kernel, layout = _kernel((x, weight, None, *settings))
    if kernel == "Slow2d":
        return _columns(weight, grad)
    if kernel != "Mkldnn":
        return 0
    return _moved(x, layout) + _moved(grad, layout) + _reordered_backward(grad, x, weight, layout, wanted)


def _kernel(args: tuple[Any, ...]) -> tuple[str, torch.memory_format]:
    """Return the kernel of a convolution and the layout it wants, by the calls with which fake tensors ask too."""
    choice = torch._C._select_conv_backend(*args)  # noqa: SLF001
    layout = torch._C._conv_determine_backend_memory_format(args[0], args[1], choice)  # noqa: SLF001
    return str(choice).rpartition(".")[2], layout


def _moved(feature_map: Tensor, layout: torch.memory_format) -> int:
    return 0 if feature_map.is_contiguous(memory_format=layout) else feature_map.nbytes


def _columns(weight: Tensor, out: Tensor) -> int:
    """Return the bytes of every patch written out as a column; a 1 x 1 kernel needs none."""
    taps = prod(weight.shape[2:])
    return 0 if taps == 1 else out.shape[0] * weight.shape[1] * taps * prod(out.shape[2:]) * out.itemsize


def _reordered(x: Tensor, weight: Tensor, out: Tensor, stride: list[int], groups: int) -> int:
    """Return the bytes of oneDNN's copies of input, weight and output in its own layout.

    Those of input and weight are released before the output is copied back. A 1 x 1 kernel takes maps as they are
    if their channels fit.
    """
    fits = x.shape[1] % _BLOCK == 0 and out.shape[1] % _BLOCK == 0
    if fits and prod(weight.shape[2:]) == 1 and set(stride) == {1}:
        return 0
    inputs = _blocked(x) if x.shape[1] >= _BLOCK else 0
    weights = weight.nbytes if groups > 1 else weight.nbytes * _padded(weight.shape[0]) // weight.shape[0]
    return max(inputs + weights + _blocked(out) - out.nbytes, _blocked(out))


def _reordered_backward(
    grad: Tensor, x: Tensor, weight: Tensor, layout: torch.memory_format, wanted: list[bool]
) -> int:
    """Return the bytes of oneDNN's copies for the gradients of input and weight, which it computes in this order."""
    large_depthwise = weight.shape[1] == 1 and max(weight.shape[2:]) > 3
    if layout is torch.channels_last:
        return weight.nbytes * (_BLOCK**2 if large_depthwise else 4)
    for_input = _blocked(grad) + _blocked(x) - x.nbytes if wanted[0] else 0
    if large_depthwise:
        for_weight = _BLOCK * weight.nbytes
    elif x.shape[1] < _BLOCK:  # sums of each thread for a weight that is not blocked by input channels
        for_weight = max(_blocked(grad), 4 * torch.get_num_threads() * weight.nbytes)
    else:
        for_weight = max(_blocked(grad) + _blocked(x), weight.nbytes)
    return max(for_input, for_weight)


def _blocked(feature_map: Tensor) -> int:
    return feature_map.nbytes // feature_map.shape[1] * _padded(feature_map.shape[1])


def _padded(channels: int) -> int:
    return -(-channels // _BLOCK) * _BLOCK


def _attention(args: tuple[Any, ...], _: Any) -> int:  # noqa: ANN401
    query: Tensor = args[0]
    rows, columns = _tile(query, args[1])
    return torch.get_num_threads() * rows * (columns + 2 + query.shape[-1]) * _FLOAT


def _attention_backward(args: tuple[Any, ...], _: Any) -> int:  # noqa: ANN401
    rows, columns = _tile(args[1], args[2])
    return torch.get_num_threads() * 2 * rows * columns * _FLOAT


def _tile(query: Tensor, key: Tensor) -> tuple[int, int]:
    """Return the queries and keys whose scores one thread holds at a time."""
    queries = query.shape[-2]
    rows = 256 if queries >= 768 else 64 if queries >= 192 else 32
    return min(rows, queries), min(_KEYS_AT_ONCE, key.shape[-2])


_FORMULAS: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    _aten.convolution: _convolution,
    _aten.convolution_backward: _convolution_backward,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,  # noqa: SLF001
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,  # noqa: SLF001
}
