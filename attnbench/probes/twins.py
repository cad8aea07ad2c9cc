"""A layer in identical copies: calls whose ratio of latencies is known before they are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor, nn

from attnbench import devices
from attnbench.devices.clock import Call

_COPIES = 3
_TOKENS, _DIM, _HEADS = 196, 192, 3
_MOST_IMAGES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """Three calls: the first two do the same, the third does it twice.

    Which copy of the layer a call runs is nobody's own: every run takes the one that rested longest. So no call finds
    its weights in a cache more often than another, and none keeps a copy that happens to lie well in memory. Calls with
    copies of their own are not identical: on two CPU cores ratios of 0.978 and 1.974 were found for 1 and 2 (standard
    error 0.001), with copies that take turns 0.999 and 2.003.
    """

    once: Call
    again: Call
    twice: Call
    wait: Callable[[], object]
    """Returns when all work that calls have begun is done."""
    flush: Call
    """Fills the caches with other data."""
    description: str

    def other(self, truth: int) -> Call:
        """Return the call that takes ``truth`` times as long as ``once``."""
        return {1: self.again, 2: self.twice}[truth]


def layers(device: str = "cpu", *, at_least_s: float = 0.002, clock: Callable[[], float] = time.perf_counter) -> Twins:
    """Build a transformer layer in copies, with weights and input each, of a size that suits the machine.

    Args:
        device: Where the layer lives and runs.
        at_least_s: A call takes this long at least; the batch is doubled until it does. Not much longer than this,
            calls fit between the turns of other processes on the core, of about 3 ms.
        clock: Seconds, on the host.
    """
    on = devices.of(device)
    with on.where:
        layer = nn.TransformerEncoderLayer(_DIM, _HEADS, 4 * _DIM, dropout=0.0, batch_first=True, norm_first=True)
        copies = [deepcopy(layer).eval() for _ in range(_COPIES)]
        images = 1
        while images < _MOST_IMAGES and _shortest_s(_in_turn(copies, images), on.synchronize, clock) < at_least_s:
            images *= 2
        once = _in_turn(copies, images)

    def twice() -> None:
        once()
        once()

    what = f"transformer layer, {_DIM} channels, {_HEADS} heads, {images} x {_TOKENS} tokens"
    return Twins(once=once, again=once, twice=twice, wait=on.synchronize, flush=on.flusher(), description=what)


def _in_turn(copies: Sequence[nn.Module], images: int) -> Call:
    """Return a call that runs the next of the copies each time, each on an input of its own."""
    x = torch.randn(images, _TOKENS, _DIM)
    turns = cycle([(layer, x.clone()) for layer in copies])

    @torch.inference_mode()
    def run() -> Tensor:
        layer, image = next(turns)
        y: Tensor = layer(image)
        return y

    return run


def _shortest_s(call: Call, wait: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the least time of a few calls, the first one left out."""
    durations = []
    for _ in range(6):
        wait()
        start = clock()
        call()
        wait()
        durations.append(clock() - start)
    return min(durations[1:])
