"""How fast a device multiplies matrices and moves memory, at best: what bounds are computed from.

The rates are an upper envelope, the best of many samples of several kernels and sizes, because a bound is not to be
beaten by what it bounds. Two kernels multiply matrices, since a framework reaches the processor through more than one
library: on an AMD processor with AVX-512, torch's linear layers (MKL) ran at 58 GMACs/s in float32 on one core and
its 1 x 1 convolutions (oneDNN), which are the same product, at 126. Three kernels move memory, since a plain copy also
reads the lines that it is about to overwrite, unseen by whoever counts: there, a copy moved 41 GB/s, an addition in
place 62.

A clock can err but hardly twice alike, so of each kernel the shortest time but one counts. Limits hold for the threads
and flags (TF32 above all) of the process that takes them, and are beaten by what works from a cache; see
``attnbench.roofline``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from attnbench import devices
from attnbench.devices.clock import Call, Timer
from attnbench.devices.figures import Extent
from attnbench.roofline import MachineLimits

_NS_PER_S = 1e9
_ALIKE = 5
"""Samples of a kernel, the best left out, of which the spread is taken."""
_HEADS, _HEAD_DIM = 8, 64


class Rate(NamedTuple):
    """The most work per second that was reached."""

    per_s: float
    spread: float
    """By how much the next best samples of the same kernel took longer, as a fraction: what more samples might gain."""


class Kernel(NamedTuple):
    """A call and how much work it is."""

    call: Call
    work: int
    """Multiply-adds, or bytes read and written."""


@torch.inference_mode()
def measure(
    device: str,
    dtypes: Sequence[str],
    threads: int,
    *,
    budget_s: float = 1.0,
    timer: Timer | None = None,
    extent: Extent | None = None,
) -> MachineLimits:
    """Measure the limits of a device. To be done once per run and environment, while nothing else runs.

    Args:
        device: Its full name, such as ``cpu``.
        dtypes: Names of torch's dtypes. Include ``float32``: half precision is never slower than it, see
            ``MachineLimits.rate``.
        threads: Intra-op threads, those of the calls to be bounded.
        budget_s: Time for each dtype and for the bandwidth. Matrices too large for what is left of it are not tried.
        timer: The clock; the device's own by default.
        extent: Sizes; those that saturate the device by default.

    Raises:
        RuntimeError: the device cannot multiply matrices of one of the dtypes, or is out of memory.
    """
    on = devices.of(device)
    timer, extent = timer or on.timer(), extent or on.extent_here()
    with on.where, _threads(threads):
        rates = {name: products_rate(getattr(torch, name), extent.sides, timer, budget_s) for name in dtypes}
        bytes_per_s = best_rate(passes(extent.array_bytes), timer=timer, budget_s=budget_s)
    on.release()  # what the allocator keeps would count as reserved by the models measured next
    return MachineLimits(
        device=device,
        threads=threads,
        macs_per_s={name: found.per_s for name, found in rates.items()},
        bytes_per_s=bytes_per_s,
        uncertainty={name: found.spread for name, found in rates.items()},
    )


def best_rate(kernels: Sequence[Kernel], *, timer: Timer, budget_s: float) -> float:
    """Return the most work per second that a kernel reached twice; see ``best``."""
    return best(kernels, timer=timer, budget_s=budget_s).per_s


def best(kernels: Sequence[Kernel], *, timer: Timer, budget_s: float) -> Rate:
    """Return the most work per second that a kernel reached twice, and how alike its best samples are.

    The kernels take turns, so that a disturbance of a while cannot spoil all samples of one of them. The first is
    timed twice whatever the budget. No other is started that is estimated, from the first, to exceed it, nor for the
    first time where a second would: a kernel that was timed once has no rate.

    Args:
        kernels: Smallest work first.
        timer: The clock.
        budget_s: Time for all of them together.
    """
    samples = [list[int]() for _ in kernels]
    first = samples[0]
    end_ns = timer.now_ns() + budget_s * _NS_PER_S
    while len(first) < 2 or timer.now_ns() < end_ns:
        for kernel, durations in zip(kernels, samples, strict=True):
            expected_ns = min(first) * kernel.work / kernels[0].work if first else 0
            expected_ns *= 1 if durations else 2
            if durations is not first and timer.now_ns() + expected_ns > end_ns:
                break
            durations.append(timer.sample(kernel.call, 1).ns)
    reached = [
        (kernel.work / sorted(durations)[1] * _NS_PER_S, _alike(durations))
        for kernel, durations in zip(kernels, samples, strict=True)
        if len(durations) > 1
    ]
    per_s, alike = max(reached)
    return Rate(per_s, alike[-1] / alike[0] - 1)


def _alike(durations: Sequence[int]) -> list[int]:
    """Return the shortest samples but for the very shortest, without which two would leave one, alike to itself."""
    ordered = sorted(durations)
    return ordered[1:_ALIKE] if len(ordered) > 2 else ordered


def products(side: int, dtype: torch.dtype) -> list[Kernel]:
    """Return products of so many rows: of square matrices, as a linear layer and as a 1 x 1 convolution, and batched.

    The batched ones are those of attention, queries with keys in eight heads of 64 channels.
    The convolution has 16 images: a single one is handed to the library that the linear layer uses.
    """
    left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
    images = torch.randn(16, side, 4, side // 64).to(dtype).to(memory_format=torch.channels_last)
    linear = partial(F.linear, left, right)
    convolution = partial(F.conv2d, images, right.view(side, side, 1, 1))
    queries, keys = (torch.randn(_HEADS, side, _HEAD_DIM).to(dtype) for _ in range(2))
    batched = partial(torch.bmm, queries, keys.mT)
    squares = [Kernel(call, side**3) for call in (linear, convolution)]
    return [*squares, Kernel(batched, _HEADS * side * side * _HEAD_DIM)]


def passes(array_bytes: int) -> list[Kernel]:
    """Return passes over one or two arrays that do next to nothing but move them."""
    source, target = (torch.ones(array_bytes // 4) for _ in range(2))
    return [
        Kernel(source.sum, array_bytes),
        Kernel(partial(target.copy_, source), 2 * array_bytes),
        Kernel(partial(target.add_, source), 3 * array_bytes),
    ]


def products_rate(dtype: torch.dtype, sides: Sequence[int], timer: Timer, budget_s: float) -> Rate:
    """Return the best rate of products of a type, in the threads that are set.

    Args:
        dtype: of the matrices.
        sides: their rows.
        timer: the clock.
        budget_s: time for all of them.
    """
    kernels = sorted((kernel for side in sides for kernel in products(side, dtype)), key=lambda each: each.work)
    return best(kernels, timer=timer, budget_s=budget_s)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
