"""Any accelerator that torch has a module for, as far as such modules are alike. A kind adds what it alone can."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import torch

from attnbench.devices.clock import Call, Timer, WaitingTimer
from attnbench.devices.device import Device, no_collection
from attnbench.devices.figures import Extent, MemoryPeak


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

    @property
    def module(self) -> Any:  # noqa: ANN401 - torch.cuda, torch.xpu and their like
        """Torch's module for its kind."""
        return getattr(torch, self.where.type)

    @classmethod
    def present(cls) -> tuple[str, ...]:
        """Return the names of those of its kind that torch sees."""
        module = getattr(torch, cls.kind)
        return tuple(f"{cls.kind}:{index}" for index in range(module.device_count()))

    def set_up(self, *, threads: int) -> None:
        """Make it the current device as well: torch chooses kernels of attention by that."""
        super().set_up(threads=threads)
        self.module.set_device(self.where)

    def timer(self) -> Timer:
        """Return a timer by the host's clock that waits for the device."""
        return WaitingTimer(partial(self.module.synchronize, self.where))  # held from before a plugin's calls

    def synchronize(self) -> None:
        """Return when all work that was begun on it is done."""
        self.module.synchronize(self.where)

    def release(self) -> None:
        """Give back to the device what torch's allocator keeps of it unused."""
        self.module.empty_cache()

    def free_bytes(self) -> int | None:
        """Return its free memory, once torch has given back what it keeps of earlier calls."""
        self.release()
        free: int = self.module.mem_get_info(self.where)[0]
        return free

    def peak(self, call: Call, forget: Call) -> MemoryPeak:
        """Ask the caching allocator for the most that was handed out during the call, workspaces included.

        Where the allocator counts whole blocks only (see ``counted``) these are up to 1 MiB larger each, and how they
        are cut depends on what else the process holds.
        """
        call()
        forget()
        gc.collect()
        self.synchronize()
        self.release()  # leftovers of earlier calls would change how blocks are cut
        counted = f"{self.counted()}.all"
        baseline: int = self.module.memory_stats(self.where)[f"{counted}.current"]
        self.module.reset_peak_memory_stats(self.where)
        with no_collection():
            call()
        self.synchronize()
        absolute: int = self.module.memory_stats(self.where)[f"{counted}.peak"]
        reserved: int = self.module.max_memory_reserved(self.where)
        return MemoryPeak(peak_bytes=absolute - baseline, absolute_bytes=absolute, reserved_bytes=reserved)

    def counted(self) -> str:
        """Return what its allocator counts: ``requested_bytes`` is exact, ``allocated_bytes`` whole blocks."""
        return "allocated_bytes"

    def forked_random(self) -> AbstractContextManager[None]:
        """Return a context at whose end its random state and the CPU's are what they were before."""
        return torch.random.fork_rng(devices=[self.where], device_type=self.where.type)

    def lost(self) -> bool:
        """Return whether it no longer answers this process."""
        try:
            self.synchronize()
        except RuntimeError:
            return True
        return False
