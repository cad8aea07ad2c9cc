"""What runner and worker say to each other: a job in a file, events on a pipe, a page that says what runs.

Imports no torch: both sides use it.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from attnbench.reading import structured
from attnbench.record import Cell, Record, Status, Value
from attnbench.worker.objection import Objection

FORK, SPAWN = "fork", "spawn"
"""How a child starts: as a copy of a process that has loaded torch, or from nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How cells are measured; the same for a whole sweep."""

    precision: float = 0.01
    """Half-width of the 95 % interval of the latency ratio at which sampling stops, relative."""
    max_time_s: float = 10.0
    """Time for the timed calls of one cell, at most; a group of n cells takes n times as long."""
    timeout_s: float = 300.0
    """Time that one phase of one cell may take before its worker is ended."""
    memory_limit_bytes: float | None = None
    """Most memory that a cell may be estimated to take; None for what the device has free."""
    max_latency_s: float | None = None
    """Latency above which nobody wants to know a cell's; one that cannot keep it is not timed. None for no limit."""
    energy: bool = False
    """Whether cells that are timed have their energy measured as well, where there is a counter."""
    energy_s: float = 5.0
    """Time for the calls of the pass that measures the energy of one cell, at least."""
    seed: int = 0
    """Seed of weights, inputs and of the order of calls."""
    isolation: str = FORK
    """How workers start, FORK or SPAWN. Forks share where code came to lie in memory, which a latency depends on by a
    percent or so; processes that start from nothing draw it anew."""

    def accept(self, record: Record) -> bool:
        """Return whether a row stands: what was not timed for a limit stands under that limit and under lower ones."""
        given, limit = record.settings.get("max_latency_s"), self.max_latency_s
        if record.status is not Status.OVER_BUDGET:
            return True
        return limit is not None and isinstance(given, int | float) and limit <= given


def foreign(distribution: str) -> bool:
    """Return whether what answers for a mechanism is somebody's who may do anything to the process."""
    return distribution.partition(" ")[0] not in {"", "attnbench", "timm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One cell of a job, with what an earlier worker found out before another cell brought it down."""

    cell: Cell
    known: Mapping[str, Value] = field(default_factory=dict)
    phases_done: tuple[str, ...] = ()
    companion: bool = False
    """Timed beside the others because their ratios refer to it, but not recorded: it has its row already."""
    apart: str = ""
    """Why it is measured in a process without those that it was beside; empty where it is not."""
    timed: Mapping[str, Value] = field(default_factory=dict)
    """Metrics of its timed calls, once there are any: what is left is to verify them."""
    objections: tuple[Objection, ...] = ()
    """What was found to speak against them."""
    known_in: str = ""
    """Id of the environment in which an interrupted run found what is known; empty where this run did."""

    def within(self, environment_id: str) -> Assignment:
        """Return it as it is to be measured there: what was found elsewhere is found anew."""
        if not self.known_in or self.known_in == environment_id:
            return self
        return replace(self, known={}, phases_done=(), known_in="")

    @property
    def foreign(self) -> bool:
        """Whether it runs code of somebody who may do anything to the process."""
        return foreign(self.cell.distribution)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one worker is to do: the cells of one group."""

    assignments: tuple[Assignment, ...]
    baseline: str
    """Key of the cell that ratios refer to; empty for none."""
    settings: Settings
    samples: str
    """Folder for the raw samples."""
    checkpoints: str = ""
    """Folder for what trainings have come to, a folder for each cell; empty where nothing is trained for long."""
    evidence: str = ""
    """Folder for what timed calls returned, until it is verified; empty where nobody will."""
    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The machine's limits by environment id, as ``MachineLimits.to_dict`` gives them."""
    precise: bool = False
    """Whether the run has seen that the machine is as precise as it says, in the circumstances of these cells."""

    def write(self, path: Path) -> None:
        """Write the job as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Return the job that a file holds."""
        return structured(json.loads(path.read_text()), cls)


Event = dict[str, Any]
"""What a child says, by its ``event``; ``attnbench.runs.heard`` has what a worker may say."""


class Running:
    """Which call is running and since when, in a page of memory that runner and worker share.

    A write costs well under a microsecond, so that it can stand before every timed call; a pipe would wake the runner.
    """

    _LAYOUT = struct.Struct("=qq")
    IDLE = -1

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(self._LAYOUT.pack(self.IDLE, 0))
        self._owner = os.getpid()
        self._path = path
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END)  # the page keeps a descriptor, on which a plugin may write as on any other
            self._page = mmap.mmap(file.fileno(), self._LAYOUT.size)

    def start(self, cell: int) -> None:
        """Note that a call of a cell starts now."""
        if os.getpid() != self._owner:  # a fork that a plugin has let go on would time calls as well
            os._exit(0)
        self._LAYOUT.pack_into(self._page, 0, cell, time.monotonic_ns())

    def stop(self) -> None:
        """Note that no call is running."""
        self._LAYOUT.pack_into(self._page, 0, self.IDLE, 0)

    def current(self) -> tuple[int | None, float]:
        """Return the cell whose call is running (None if none is) and for how many seconds."""
        # Read from the file: a plugin that has cut it short would end whoever looks into the page.
        try:
            cell, since = self._LAYOUT.unpack_from(self._path.read_bytes(), 0)
        except (OSError, struct.error):
            return None, 0.0
        if cell == self.IDLE:
            return None, 0.0
        return cell, (time.monotonic_ns() - since) / 1e9
