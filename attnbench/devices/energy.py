"""What a counter of energy is to whoever reads it. Imports no torch."""

from __future__ import annotations

from typing import Protocol

from attnbench.errors import AttnbenchError


class NoCounterError(AttnbenchError):
    """There is no counter of energy that can be read; the message says why."""


class Counted(Protocol):
    """What may have a counter: a device."""

    def energy_counter(self) -> EnergyCounter:
        """Return it, or raise NoCounterError."""


class EnergyCounter(Protocol):
    """Counts the energy that a part of the machine has taken, whoever it worked for."""

    name: str
    """What is counted and by what, such as ``RAPL package-0 + dram``."""

    def read_j(self) -> float:
        """Return the energy since some moment, in joules; it only grows.

        Raises:
            NoCounterError: it can no longer be read.
        """


def counter_of(device: Counted) -> str:
    """Return what counts the energy of a device, or why nothing does, for people."""
    try:
        return device.energy_counter().name
    except NoCounterError as error:
        return f"none: {error}"
