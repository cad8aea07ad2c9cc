"""The accelerator of ``fake.cpp`` as torch and whoever is measured on it find it: ``torch.fake``, devices fake:0 and 1.

A process that has the package on its path gets it with torch (entry point ``torch.backends``), as the backends of
makers do. ``FAKE_ACCELERATOR`` names the compiled library.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import torch

LIBRARY = "FAKE_ACCELERATOR"
KIND = "fake"
DEVICES = 2
EVENTS = ("good", "frozen", "backwards", "refused")


class FakeModule:
    """What torch asks of the module of a kind, what people ask of it, and what tests tell the devices."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        for name in ("waits", "operators"):
            getattr(library, f"fake_{name}").restype = ctypes.c_int64

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return DEVICES

    def current_device(self) -> int:
        return torch.accelerator.current_device_index()

    def get_device_name(self, device: Any = None) -> str:
        return "Fake Accelerator"

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Its random numbers are the CPU's."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def waits(self) -> int:
        """Return how often anybody has waited for a device or an event."""
        return int(self._library.fake_waits())

    def operators(self) -> int:
        """Return how many operators the devices have been handed."""
        return int(self._library.fake_operators())

    def cost(self, seconds: float) -> None:
        """Let every operator from now on take so long on the device's own clock."""
        self._library.fake_set_cost_ns(ctypes.c_int64(round(seconds * 1e9)))

    def forgive(self) -> None:
        """Let all work be done at once."""
        self._library.fake_forgive()

    def hold(self, size: int) -> None:
        """Let each device have so many bytes."""
        self._library.fake_set_capacity(ctypes.c_int64(size))

    def events(self, how: str) -> None:
        """Let events be one of EVENTS."""
        self._library.fake_set_events(EVENTS.index(how))

    def lose(self, device: int) -> None:
        """Let a device be of no more use to this process."""
        self._library.fake_lose(device)

    def find(self, device: int) -> None:
        """Let a device be of use again."""
        self._library.fake_find(device)


def autoload() -> None:
    """Let torch know the kind."""
    library = ctypes.CDLL(os.environ[LIBRARY])
    library.fake_register()
    torch.utils.rename_privateuse1_backend(KIND)
    torch._register_device_module(KIND, FakeModule(library))
    torch.utils.generate_methods_for_privateuse1_backend()
