"""How long one sample takes, on the CPU and on a CUDA device. Knows nothing of what it times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch

Call = Callable[[], object]


class Elapsed(NamedTuple):
    """Duration of one sample, all its calls together, in nanoseconds."""

    ns: int
    """By the clock of the device that does the work."""
    host_ns: int
    """Until the calls returned to Python; on a GPU, near ``ns`` or above it if launching is what takes the time."""


class Timer(Protocol):
    """Runs calls and says how long they took; ``now_ns`` is for budgets, not for samples."""

    shortest_ns: int
    """Samples shorter than this are too near the clock's own step and cost, and are made of several calls."""

    def now_ns(self) -> int:
        """Return the time on the host's clock."""

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row and return how long that took, once it is finished."""


class CpuTimer:
    """Times work that is finished when the call returns."""

    shortest_ns = 50_000
    """A thousand times the cost of reading the clock (about 50 ns)."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.now_ns = clock

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row and return how long that took."""
        clock = self.now_ns
        if repeats == 1:
            start = clock()
            call()
            end = clock()
        else:
            start = clock()
            for _ in range(repeats):
                call()
            end = clock()
        return Elapsed(ns=end - start, host_ns=end - start)


class CudaTimer:
    """Times work on a CUDA device by a pair of events.

    Every sample starts on an idle device and ends with a synchronisation, which is outside the pair. One
    synchronisation per round would let the work queued by one call hide the launches of the next, so that a call's
    time would hang on who came before it in that round; and an error of the device would be laid on the wrong call.

    Args:
        device: The device that the calls use.
        hot: Leave in the L2 cache what the call before left there. Cold is the default: a buffer of twice the
            cache's size is cleared before each sample, outside the events.
        cuda: Stands in for ``torch.cuda`` in tests.
        clock: The host's clock, in nanoseconds.
    """

    def __init__(
        self,
        device: torch.device | str = "cuda",
        *,
        hot: bool = False,
        cuda: Any = torch.cuda,  # noqa: ANN401 - a module
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.now_ns = clock
        # Calls grouped into one sample would warm the cache for each other. Events resolve about half a microsecond.
        self.shortest_ns = 50_000 if hot else 0
        self._cuda = cuda
        self._device = device
        size = 0 if hot else 2 * cuda.get_device_properties(device).L2_cache_size
        self._flush = torch.empty(size, dtype=torch.uint8, device=device)

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row and return the device's time between the events."""
        start, end = self._cuda.Event(enable_timing=True), self._cuda.Event(enable_timing=True)
        stream = self._cuda.current_stream(self._device)
        self._flush.zero_()
        start.record(stream)
        host_start = self.now_ns()
        for _ in range(repeats):
            call()
        host_end = self.now_ns()
        end.record(stream)
        self._cuda.synchronize(self._device)
        return Elapsed(ns=round(start.elapsed_time(end) * 1e6), host_ns=host_end - host_start)
