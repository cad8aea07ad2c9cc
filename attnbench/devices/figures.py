"""What devices answer with. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPeak:
    """Most memory that a call held at one time.

    None where the device's allocator keeps no such figure.

    Example:
        >>> MemoryPeak(peak_bytes=4096).reserved_bytes is None
        True
    """

    peak_bytes: int | None
    """Most bytes in live tensors at one time, beyond what was live when the call began: its temporaries and its
    output, and for a training step what is saved for backward and the gradients; not parameters and inputs."""
    absolute_bytes: int | None = None
    """Most bytes in live tensors at one time, everything on the device included (accelerators)."""
    reserved_bytes: int | None = None
    """Most bytes that the caching allocator held from the device (accelerators)."""
    counted: str | None = None
    """What the allocator counted: ``requested_bytes`` is exact, ``allocated_bytes`` whole blocks (accelerators)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How large matrices and arrays must be to keep a device busy.

    Example:
        >>> Extent(sides=(4096, 8192), array_bytes=2**30).sides[-1]
        8192
    """

    sides: Sequence[int]
    """Sides of the square matrices, each a multiple of 64, smallest first."""
    array_bytes: int
    """Size of an array. Too small for a large cache errs to the safe side: the rate is then above the memory's."""


class State(NamedTuple):
    """What changes from minute to minute, with units; None where nobody says.

    Example:
        >>> State(power="251 W").clock is None
        True
    """

    temperature: str | None = None
    clock: str | None = None
    memory_clock: str | None = None
    power: str | None = None
