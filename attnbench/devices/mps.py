"""Apple's GPUs, of which a machine has one and which share its main memory."""

from __future__ import annotations

import torch

from attnbench.devices import machine
from attnbench.devices.accelerator import Accelerator


class MpsDevice(Accelerator):
    """The GPU of a Mac. Its allocator keeps no peak, and its events may hang (pytorch issue 196395): none are used."""

    kind = "mps"
    trusts_events = False
    ran_out = ("MPS backend out of memory",)
    lacks = (
        "MPS framework doesn't support float64",
        "not currently implemented for the MPS device",
        "is not supported on MPS",
    )

    def free_bytes(self) -> int | None:
        """Return what the system recommends at most, less what the driver has handed out."""
        self.release()
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())

    @property
    def model(self) -> str | None:
        """What a person calls the chip."""
        return f"{machine.cpu().model} GPU"
