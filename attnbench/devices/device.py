"""The contract of a device: what the harness asks of whatever it measures on. A kind is a subclass in a file.

What ``set_up`` sets is in the environment's id, so whoever takes the environment sets the process up first: worker,
child that measures the limits, pytest's fixture alike.
"""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import torch

from attnbench.devices.clock import Call, Timer
from attnbench.devices.energy import EnergyCounter, NoCounterError
from attnbench.devices.figures import Extent, MemoryPeak, State
from attnbench.devices.gpus import Pace
from attnbench.devices.machine import Gpu, Run, run_command
from attnbench.devices.switch import Switch

_CACHE_BYTES = 64 * 2**20
"""Where nobody says how large a cache is."""


class Device(ABC):
    """One device, by its full name.

    Args:
        name: such as ``cuda:1``; what stands before the index is the kind.

    Example:
        >>> from attnbench import devices
        >>> cpu = devices.of("cpu")
        >>> cpu.kind, cpu.where, cpu.in_main_memory
        ('cpu', device(type='cpu'), True)
        >>> cpu.timer().sample(lambda: None, 3).ns > 0
        True
    """

    kind: ClassVar[str]
    extent: ClassVar[Extent]
    """What keeps it busy while its limits are measured."""
    block_bytes: ClassVar[int] = 1
    """Its allocator hands out multiples of this."""
    in_main_memory: ClassVar[bool] = False
    """Whether its tensors lie in the memory that the process has of the system."""
    ran_out: ClassVar[tuple[str, ...]] = ()
    """What errors say of memory that torch did not ask its own allocators for."""
    lacks: ClassVar[tuple[str, ...]] = ()
    """What errors say, beside torch's own words, of a type or a kernel that such devices do not have."""
    switches: ClassVar[Mapping[str, Switch]] = {}
    """Settings of the process that change what is computed on such devices, by what a person calls them."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def where(self) -> torch.device:
        """Where torch puts tensors that are to be on it."""
        return torch.device(self.name)

    @classmethod
    @abstractmethod
    def present(cls) -> tuple[str, ...]:
        """Return the names of those of its kind that are there. Called before anything is set up."""

    def set_up(self, *, threads: int) -> None:
        """Set this process up for measuring on it, before anything is taken down of it or measured in it.

        Args:
            threads: intra-op threads on the CPU.
        """
        torch.set_num_threads(threads)

    @abstractmethod
    def timer(self) -> Timer:
        """Return what times calls on it."""

    def cache_bytes(self) -> int:
        """Return how many bytes of other data drive from its caches what a call has left there."""
        return _CACHE_BYTES

    def flusher(self) -> Callable[[], object]:
        """Return what fills its caches with other data. The memory for them is taken once, here."""
        other = torch.ones(self.cache_bytes() // 4, device=self.where)
        return other.sum  # reading is enough, and what is written past a cache would not be in it

    def extent_here(self) -> Extent:
        """Return what keeps it busy, as far as its memory has room for it."""
        return self.extent

    @abstractmethod
    def synchronize(self) -> None:
        """Return when all work that was begun on it is done."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Return the memory that can still be had on it, with what torch keeps of earlier calls; None if unknown."""

    @abstractmethod
    def peak(self, call: Call, forget: Call) -> MemoryPeak:
        """Measure the peak memory of one call, after a first one that fills lazy buffers and workspaces.

        Args:
            call: what is measured.
            forget: drops what a call leaves behind, such as gradients.
        """

    @abstractmethod
    def forked_random(self) -> AbstractContextManager[None]:
        """Return a context at whose end the random state is what it was before, the CPU's included."""

    def release(self) -> None:  # noqa: B027 - not every allocator keeps any
        """Give back to the device what torch's allocator keeps of it unused."""

    def lost(self) -> bool:
        """Return whether an error has left it of no more use to this process, as an illegal access does on CUDA."""
        return False

    @property
    def uuid(self) -> str | None:
        """The name by which its maker's tools know it, None if there is none."""
        return None

    def flags(self) -> Mapping[str, str | int | float | bool | None]:
        """Return what this process is set up to that changes how fast it is, beside what every environment has."""
        return {}

    def pace(self, run: Run = run_command) -> Pace:  # noqa: ARG002 - a kind uses it
        """Return how fast it goes and what slows it, as its maker's tools say it; nothing for the processor.

        Args:
            run: runs its maker's tools.
        """
        return Pace()

    def energy_counter(self) -> EnergyCounter:
        """Return what counts the energy that it takes.

        Raises:
            NoCounterError: there is none that can be read.
        """
        raise NoCounterError(f"nothing is known that counts the energy of {self.name}")

    @property
    def model(self) -> str | None:
        """What a person calls it, None where that is the processor."""
        return None

    def describe(self, run: Run = run_command) -> Gpu | None:  # noqa: ARG002 - a kind uses it
        """Describe it as far as it changes figures; None where that is the processor, which is always described.

        Args:
            run: runs its maker's tools.
        """
        return None

    def state(self, run: Run = run_command) -> State:  # noqa: ARG002 - a kind uses it
        """Return what changes from minute to minute, as its maker's tools say it."""
        return State()


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from running within."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
