"""The CPU: its work is finished when the call returns, and its memory is the machine's."""

from __future__ import annotations

import gc
import os
from contextlib import AbstractContextManager
from itertools import accumulate

import torch
from torch.autograd.profiler import profile, record_function
from torch.backends import mkldnn

from attnbench.devices import machine
from attnbench.devices.clock import Call, CpuTimer, Timer
from attnbench.devices.device import Device, no_collection
from attnbench.devices.energy import EnergyCounter
from attnbench.devices.figures import Extent, MemoryPeak
from attnbench.devices.rapl import Rapl
from attnbench.devices.switch import attribute, autocast

_MARK = "attnbench: the measured call"
_ALLOCATION = "[memory]"
_MOST_CACHE_BYTES = 64 * 2**20


class CpuDevice(Device):
    """The processor."""

    kind = "cpu"
    in_main_memory = True
    extent = Extent(sides=(256, 512, 1024, 2048), array_bytes=256 * 2**20)
    ran_out = ("can't allocate memory",)
    switches = {  # noqa: RUF012 - read only
        "autocast on the CPU": autocast("cpu"),
        "mkldnn.enabled": attribute(mkldnn, "enabled"),
    }

    @classmethod
    def present(cls) -> tuple[str, ...]:
        """Return its name: it is always there."""
        return (cls.kind,)

    def timer(self) -> Timer:
        """Return a timer by the host's clock."""
        return CpuTimer()

    def cache_bytes(self) -> int:
        """Return the size of the last cache, 64 MiB at most: larger ones are shared with a server's other tenants."""
        return min(machine.last_cache_bytes() or super().cache_bytes(), _MOST_CACHE_BYTES)

    def synchronize(self) -> None:
        """Return at once: nothing is left running."""

    def free_bytes(self) -> int | None:
        """Return the main memory that can be had without swapping."""
        return machine.available_memory_bytes()

    def peak(self, call: Call, forget: Call) -> MemoryPeak:
        """Add up every block that torch's allocator hands out and takes back during the call.

        Exact, oneDNN's reordered copies and scratchpads included. It does not see what libraries take from the system
        themselves (packing buffers of a BLAS, stacks), nor what is allocated in threads other than the calling one.
        Backward on a CPU runs in the calling thread; torch's own kernels allocate before they go parallel.
        """

        def measured() -> None:
            with record_function(_MARK):
                call()

        changes = _allocations(lambda: (call(), forget(), gc.collect()), measured)
        return MemoryPeak(peak_bytes=max(accumulate(changes, initial=0)))

    def energy_counter(self) -> EnergyCounter:
        """Return the counter of all processors and their memory, whoever they work for."""
        return Rapl()

    def forked_random(self) -> AbstractContextManager[None]:
        """Return a context at whose end the random state is what it was before."""
        return torch.random.fork_rng(devices=[])


def _allocations(before: Call, measured: Call) -> list[int]:
    """Return the bytes of every allocation (positive) and release (negative) within ``measured``, in order.

    Both calls are profiled: torch knows the size of a released block only if it saw it allocated. What
    torch documents are sums per operator; single events are only in the profiler's private results.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports each start and stop on stderr
    with profile(use_kineto=True, profile_memory=True) as profiler:
        before()
        with no_collection():
            measured()
    assert profiler.kineto_results is not None
    events = sorted(profiler.kineto_results.events(), key=lambda event: event.start_ns())
    start = next(event.start_ns() for event in events if event.name() == _MARK)
    return [event.nbytes() for event in events if event.name() == _ALLOCATION and event.start_ns() >= start]
