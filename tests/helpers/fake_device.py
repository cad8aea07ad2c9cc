"""An accelerator of no substance: it computes on the CPU, and writes down what is asked of it.

``put`` installs it into a folder as another package's kind of device, so that processes which have the folder on their
path find it by its entry point. ``FAKE_DEVICE_LOG`` names a file to which every process adds a line for each request.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import brought
import pytest
import torch

from attnbench import devices
from attnbench.devices.accelerator import Accelerator
from attnbench.devices.energy import EnergyCounter
from attnbench.devices.figures import Extent
from attnbench.devices.machine import Gpu, Run, run_command

LOG = "FAKE_DEVICE_LOG"
PEAK_BYTES = 600
MODEL = "Fake Accelerator"


class FakeModule:
    """What torch has for its accelerators: ``torch.cuda`` and its like."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_lost = self.is_set_up = False

    def note(self, what: str) -> None:
        """Write down a request."""
        self.asked.append(what)
        if LOG in os.environ:
            with Path(os.environ[LOG]).open("a") as log:
                log.write(f"{os.getpid()} {what}\n")

    def device_count(self) -> int:
        return 2

    def get_rng_state(self, device: object) -> None:
        """Its own is the CPU's."""

    def set_device(self, device: object) -> None:
        self.note("set device")
        self.is_set_up = True

    def synchronize(self, device: object) -> None:
        self.note("synchronize")
        if self.is_lost:
            raise RuntimeError("fake error: an illegal memory access was encountered")

    def empty_cache(self) -> None:
        self.note("empty cache")

    def mem_get_info(self, device: object) -> tuple[int, int]:
        self.note("free memory")
        return 2**33, 2**34

    def memory_stats(self, device: object) -> dict[str, int]:
        self.note("memory")
        return {
            "allocated_bytes.all.current": 100,
            "allocated_bytes.all.peak": 100 + PEAK_BYTES,
            "reserved_bytes.all.peak": 2048,
        }

    def reset_peak_memory_stats(self, device: object) -> None:
        self.note("reset peak")


MODULE = FakeModule()


class FakeCounter:
    """Counts 30 W, whatever is done."""

    name = "fake counter"

    def read_j(self) -> float:
        return 30 * time.perf_counter()


class Fake(Accelerator):
    """The kind ``fake``."""

    kind = "fake"
    extent = Extent(sides=(64, 128), array_bytes=2**20)
    ran_out = ("fake memory is full",)
    trusts_events = False

    @property
    def where(self) -> torch.device:
        return torch.device("cpu")

    @property
    def module(self) -> Any:
        return MODULE

    @classmethod
    def present(cls) -> tuple[str, ...]:
        return tuple(f"{cls.kind}:{index}" for index in range(MODULE.device_count()))

    def cache_bytes(self) -> int:
        return 2**12

    def extent_here(self) -> Extent:
        return self.extent

    def forked_random(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng(devices=[])

    @property
    def model(self) -> str | None:
        return MODEL

    @property
    def uuid(self) -> str | None:
        return f"FAKE-{self.name}"

    def flags(self) -> dict[str, bool]:
        return {"fake_set_up": MODULE.is_set_up}

    def energy_counter(self) -> EnergyCounter:
        return FakeCounter()

    def describe(self, run: Run = run_command) -> Gpu | None:
        MODULE.note("describe")
        return Gpu(
            name=MODEL, compute_capability="0.0", memory="16 MiB", multiprocessors=1, driver=None, power_limit=None,
            clock_max_sm=None, clock_max_memory=None,
        )  # fmt: skip


def know(monkeypatch: pytest.MonkeyPatch) -> FakeModule:
    """Let this process know the kind, and return what its module is asked."""
    entry = EntryPoint(name="fake", value="fake_device:Fake", group=devices.GROUP)
    brought.bring(monkeypatch, entry)
    monkeypatch.setattr(sys.modules[__name__], "MODULE", FakeModule())
    return MODULE


def put(folder: Path) -> dict[str, str]:
    """Install it into a folder, and return the variables of processes that are to find it."""
    metadata = folder / "fake_device-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-device\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[attnbench.devices]\nfake = fake_device:Fake\n")
    path = [str(folder), str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), LOG: str(folder / "asked.log")}
