"""Any accelerator that torch has a module for, as far as such modules are alike. A kind adds what it alone can."""

from __future__ import annotations

import gc
import inspect
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any, ClassVar

import torch

from attnbench.devices import events
from attnbench.devices.allocator import Allocator, is_current
from attnbench.devices.clock import Call, Timer, WaitingTimer
from attnbench.devices.device import Device, no_collection
from attnbench.devices.figures import Extent, MemoryPeak
from attnbench.devices.machine import Gpu, Run, run_command

_CACHE_SHARE = 16
_SIDES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
_BYTES_OF_A_SIDE = 96
"""Bytes that products of so many rows take, for each element of a square matrix of them, at most."""


class Accelerator(Device):
    """A device with a memory of its own, to which calls hand work that goes on when they return.

    Example:
        >>> class Xpu(Accelerator):
        ...     kind = "xpu"
        >>> Xpu("xpu:1").where
        device(type='xpu', index=1)
        >>> Xpu("xpu:1").module is torch.xpu
        True
    """

    extent: ClassVar[Extent] = Extent(sides=(4096, 8192), array_bytes=2**30)
    trusts_events: ClassVar[bool] = True
    """Whether its events are tried at all."""

    @property
    def module(self) -> Any:  # noqa: ANN401 - torch.cuda, torch.xpu and their like
        """Torch's module for its kind."""
        return getattr(torch, self.where.type)  # torch.get_device_module, which caches what it once found

    @property
    def allocator(self) -> Allocator:
        """Torch's allocator of its memory."""
        return Allocator(self.where, self.module)

    @classmethod
    def present(cls) -> tuple[str, ...]:
        """Return the names of those of its kind that torch sees."""
        module = getattr(torch, cls.kind)
        return tuple(f"{cls.kind}:{index}" for index in range(module.device_count()))

    def set_up(self, *, threads: int) -> None:
        """Make it the current device as well: torch chooses kernels of attention by that, and where events stand."""
        super().set_up(threads=threads)
        if hasattr(self.module, "set_device"):
            self.module.set_device(self.where)
        elif is_current(self.kind) and self.where.index is not None:
            torch.accelerator.set_device_index(self.where.index)

    def timer(self) -> Timer:
        """Return a timer by its events where they agree with the host's clock, else by that until it has finished."""
        wait = self._waiter()  # held from before a plugin's calls
        doubt = _doubt(self)
        return WaitingTimer(wait, because=doubt) if doubt else self.by_events()

    def by_events(self) -> Timer:
        """Return a timer by its events, whether or not they are to be believed."""
        return events.EventTimer(partial(torch.Event, self.where, enable_timing=True), self._waiter())

    def synchronize(self) -> None:
        """Return when all work that was begun on it is done."""
        self._waiter()()

    def _waiter(self) -> Call:
        """Return what waits for it. Modules of kinds of which a machine has one device take no device there."""
        wait = getattr(self.module, "synchronize", torch.accelerator.synchronize)
        return partial(wait, self.where) if inspect.signature(wait).parameters else wait

    def release(self) -> None:
        """Give back to the device what torch's allocator keeps of it unused."""
        self.allocator.empty()

    def free_bytes(self) -> int | None:
        """Return its free memory, once torch has given back what it keeps of earlier calls; None if nobody tells."""
        self.release()
        found = self.allocator.free_and_total()
        return found[0] if found else None

    def cache_bytes(self) -> int:
        """Return what is usual where nobody says how large caches are, or a part of a memory that is small."""
        found = self.allocator.free_and_total()
        usual = super().cache_bytes()
        return min(usual, found[1] // _CACHE_SHARE) if found else usual

    def extent_here(self) -> Extent:
        """Return sizes that keep it busy; the largest that fit where its memory is small."""
        found = self.allocator.free_and_total()
        if found is None:
            return self.extent
        room = found[1] // 4
        fitting = [side for side in _SIDES if side * side * _BYTES_OF_A_SIDE <= room][-len(self.extent.sides) :]
        sides = [side for side in self.extent.sides if side in fitting] or fitting or [_SIDES[0]]
        return Extent(sides=sides, array_bytes=min(self.extent.array_bytes, room // 4))

    def peak(self, call: Call, forget: Call) -> MemoryPeak:
        """Ask the caching allocator for the most that was handed out during the call, workspaces included.

        Where the allocator counts whole blocks only (see ``counted``) these are up to 1 MiB larger each, and how they
        are cut depends on what else the process holds. Where it keeps no peak, torch reads it as 0, and it is None.
        """
        call()
        forget()
        gc.collect()
        self.synchronize()
        self.release()  # leftovers of earlier calls would change how blocks are cut
        allocator, counted = self.allocator, self.counted()
        baseline = allocator.stats().get(f"{counted}.all.current", 0)
        allocator.reset_peak()
        with no_collection():
            call()
        self.synchronize()
        found = allocator.stats()
        absolute = found.get(f"{counted}.all.peak", 0)
        if not absolute:
            return MemoryPeak(peak_bytes=None)
        return MemoryPeak(
            peak_bytes=absolute - baseline,
            absolute_bytes=absolute,
            reserved_bytes=found.get("reserved_bytes.all.peak") or None,
            counted=counted,
        )

    def counted(self) -> str:
        """Return what its allocator counts: ``requested_bytes`` is exact, ``allocated_bytes`` whole blocks."""
        return "allocated_bytes"

    def forked_random(self) -> AbstractContextManager[None]:
        """Return a context at whose end its random state and the CPU's are what they were before."""
        if not hasattr(self.module, "get_rng_state"):  # it draws from the CPU's
            return torch.random.fork_rng(devices=[])
        return torch.random.fork_rng(devices=[self.where], device_type=self.where.type)

    @property
    def model(self) -> str | None:
        """What its maker calls it, as torch tells it."""
        if not hasattr(self.module, "get_device_name"):
            return self.kind
        name: str = self.module.get_device_name(self.where)
        return name

    def describe(self, run: Run = run_command) -> Gpu | None:  # noqa: ARG002 - a kind uses it
        """Describe it as far as torch tells; None where there is no such device."""
        if self.name not in self.present():
            return None
        found = self.allocator.free_and_total()
        return Gpu(
            name=self.model or self.kind,
            compute_capability=None,
            memory=f"{found[1] // 2**20} MiB" if found else None,
            multiprocessors=None,
            driver=None,
            power_limit=None,
            clock_max_sm=None,
            clock_max_memory=None,
        )

    def lost(self) -> bool:
        """Return whether it no longer answers this process."""
        try:
            self.synchronize()
        except RuntimeError:
            return True
        return False


@cache
def _doubt_of(kind: type[Accelerator], name: str) -> str:
    device = kind(name)
    if not device.trusts_events:
        return "events of its kind are not to be trusted"
    x = torch.ones(256, 256, device=device.where)

    def work() -> torch.Tensor:
        return x @ x

    return events.doubt(device.by_events(), WaitingTimer(device._waiter()), work)  # noqa: SLF001 - its own


def _doubt(device: Accelerator) -> str:
    """Return why the events of a device are not to be believed; found out once a process."""
    return _doubt_of(type(device), device.name)
