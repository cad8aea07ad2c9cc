"""Memory that a call takes past torch's allocator: numpy's arrays, ``mmap``, ``ctypes``, what a library asks for.

The peak that ``attnbench.probes.memory`` measures is exact for what torch hands out and blind to all else. Two passes
look for the rest. What Python and numpy allocate is known to ``tracemalloc`` to the byte. What is taken from the C
library or the system is read at every line of Python that a call runs: a line lies between operators, so that what a
BLAS packs for a product, which is gone when the product is done, is not taken for the layer's.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from attnbench.devices.clock import Call
from attnbench.devices.taken import TakenMemory

LEAST_BYTES, SHARE = 2**20, 0.05
"""No more than this, or than this share of torch's peak, is not said: Python's own objects take some."""


def outside(call: Call, *, forget: Call, peak_bytes: int, by_line: bool = True) -> int | None:
    """Return the most bytes that a call held past torch's allocator, 0 if no more than is usual.

    None where the system does not say. Only of calls whose tensors lie in main memory.

    Args:
        call: what is looked at; it has run before.
        forget: drops what a call leaves behind, such as gradients.
        peak_bytes: the most that torch's allocator handed out during one.
        by_line: whether to look between the lines as well; code that is compiled has none.
    """
    usual, found = max(LEAST_BYTES, SHARE * peak_bytes), list[int]()
    for _ in range(2):  # what another thread of the process takes meanwhile is nothing of the call's
        try:
            found.append(_held(call, forget, peak_bytes=peak_bytes, by_line=by_line))
        except OSError:
            return None
        if min(found) <= usual:
            return 0
    return min(found)


def _held(call: Call, forget: Call, *, peak_bytes: int, by_line: bool) -> int:
    """Return the most bytes past torch's allocator that were held while a call ran.

    Raises:
        OSError: the system does not say.
    """
    found = _traced(call, forget)
    if not by_line:
        return found
    rise = _risen(call, forget)
    return max(found, rise.allocated - peak_bytes) + rise.mapped


def _traced(call: Call, forget: Call) -> int:
    """Return the peak of what Python and numpy allocated."""
    gc.collect()
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if ours:
            tracemalloc.stop()
    forget()
    return peak - before


@dataclass(slots=True)
class _Rise:
    """The most by which what is in use rose, in bytes."""

    allocated: int = 0
    mapped: int = 0


def _risen(call: Call, forget: Call) -> _Rise:
    """Return the most that was in use at a line of Python, beyond what was before.

    Raises:
        OSError: the system does not say.
    """
    account = TakenMemory()
    try:
        gc.collect()
        with _at_every_line(account) as rise:
            call()
        forget()
    finally:
        account.close()
    return rise


@contextmanager
def _at_every_line(account: TakenMemory) -> Iterator[_Rise]:
    rise, before, others = _Rise(), account.read(), sys.gettrace()

    def look(*_: object) -> Any:  # noqa: ANN401 - a tracer returns the next one
        now = account.read()
        rise.allocated = max(rise.allocated, now.allocated - before.allocated)
        if now.mapped is not None and before.mapped is not None:
            rise.mapped = max(rise.mapped, now.mapped - before.mapped)
        return look

    def enter(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401
        return look(frame, event, argument)

    sys.settrace(enter)
    try:
        yield rise
    finally:
        sys.settrace(others)
