"""Depthwise convolution whose kernel's gradient does not grow out of proportion with the kernel.

On a CPU oneDNN 3 has a quick form of that gradient for kernels up to 3 wide alone, whatever their height. A wider
kernel takes 20 times longer for each of its weights, and 70 times from 15 on. Here the gradient is taken in upright
strips 3 wide of the kernel, which are kernels themselves, over a map that is shifted. The convolution and the gradient
of its map are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

ChannelsFirst: TypeAlias = Float[Tensor, "batch channels height width"]
Slid: TypeAlias = Float[Tensor, "batch channels rows columns"]
Kernel: TypeAlias = Float[Tensor, "channels 1 down across"]

STRIP = 3
"""Width up to which oneDNN 3 is quick."""
MOST_WEIGHTS = 2**15
"""The most weights whose gradient oneDNN 3 computes by its depthwise kernel."""


def depthwise(x: ChannelsFirst, kernel: Kernel, *, stride: int) -> Slid:
    """Return the convolution of each channel with its own kernel, of odd sides, padded by half of it."""
    side = kernel.shape[-1]
    learned = torch.is_grad_enabled() and kernel.requires_grad and not torch.compiler.is_exporting()
    if learned and side > STRIP and x.is_cpu and x.dtype is torch.float32:
        return _InStrips.apply(x, kernel, stride)  # type: ignore[no-any-return]
    return F.conv2d(x, kernel, stride=stride, padding=side // 2, groups=len(kernel))


class _InStrips(torch.autograd.Function):
    """Torch's convolution, with a backward pass that takes the kernel's gradient in strips."""

    @staticmethod
    def forward(ctx: Any, x: ChannelsFirst, kernel: Kernel, stride: int) -> Slid:  # noqa: ANN401 - torch leaves it untyped
        ctx.save_for_backward(x, kernel)
        ctx.stride = stride
        return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=len(kernel))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Slid) -> tuple[Tensor | None, Kernel, None]:  # noqa: ANN401
        x, kernel = ctx.saved_tensors
        border, x_grad = [kernel.shape[-1] // 2] * 2, None
        if ctx.needs_input_grad[0]:
            x_grad = _gradients(grad, x, kernel, ctx.stride, border, of_kernel=False)
        return x_grad, _kernel_gradient(grad, x, kernel, ctx.stride), None


def _kernel_gradient(grad: Slid, x: ChannelsFirst, kernel: Kernel, stride: int) -> Kernel:
    """Return the gradient of a kernel, some channels at a time, so that no padded map is larger than the map."""
    (height, width), side = x.shape[-2:], kernel.shape[-1]
    border, beyond, columns = side // 2, -side % STRIP, (grad.shape[-1] - 1) * stride + STRIP
    rows = border if side > height else 0  # oneDNN is slow where a kernel is taller than the map that it pads itself
    parts = math.ceil((width + 2 * border + beyond) * (height + 2 * rows) / (width * height))
    size = max(1, min(math.ceil(len(kernel) / parts), MOST_WEIGHTS // (side * STRIP)))
    found = kernel.new_empty(*kernel.shape[:3], side + beyond)
    for of, onto, strips in _grouped(size, (x, 1), (grad, 1), (found, 0)):
        sides = (0, 0, border, border + beyond, rows, rows)
        padded = F.pad(of.permute(0, 2, 3, 1), sides).permute(0, 3, 1, 2)
        for start, strip in zip(range(0, side, STRIP), torch.split(strips, STRIP, -1), strict=True):
            seen = padded[..., start : start + columns]
            strip.copy_(_gradients(onto, seen, strip, stride, [border - rows, 0], of_kernel=True))
    return found[..., :side].contiguous()


def _grouped(size: int, *axes: tuple[Tensor, int]) -> Iterable[tuple[Tensor, ...]]:
    return zip(*(torch.split(tensor, size, axis) for tensor, axis in axes), strict=True)


def _gradients(grad: Slid, x: Tensor, kernel: Tensor, stride: int, border: list[int], *, of_kernel: bool) -> Tensor:
    """Return the gradient of a kernel or of a map by torch's own backward pass."""
    wanted = [not of_kernel, of_kernel, False]
    found: Tensor = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, [stride] * 2, border, [1, 1], False, [0, 0], len(kernel), wanted
    )[int(of_kernel)]
    return found
