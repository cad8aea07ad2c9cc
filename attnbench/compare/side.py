"""One of the two processes that measure a cell by turns, seen by the parent; ``lockstep`` is the child."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from attnbench import __version__, inert
from attnbench.child import ENDED, Child, late
from attnbench.devices.clock import Call, Elapsed
from attnbench.record import Cell, Options, Record, Status, Value
from attnbench.runs.heard import EnvironmentTaken, Learned, PhaseEntered
from attnbench.runs.job import Assignment, Job, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionsKnown:
    """The options that this revision of the mechanism has."""

    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReady:
    """The cell can be timed."""

    layers: int
    shortest_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTaken:
    """How long the calls of one turn took."""

    ns: int
    host_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEnded:
    """The child can go no further."""

    status: Status
    reason: str


EVENTS: Final[Mapping[str, type]] = {
    "environment": EnvironmentTaken,
    "options": OptionsKnown,
    "phase": PhaseEntered,
    "metrics": Learned,
    "ready": CellReady,
    "sample": SampleTaken,
    "done": SideEnded,
}


ANY: Final = "any"
"""What the child is given in place of a core."""


class SideEndedError(Exception):
    """A process is done before its time; the side it was has a status and a reason."""


@dataclass(slots=True, kw_only=True, eq=False)
class LockstepSide:
    """Base or head of one cell. Calling it lets the child take a turn."""

    cell: Cell
    child: Child
    turns: int
    """Descriptor of the FIFO that tells the child how many calls to time next."""
    timeout_s: float
    watcher: Callable[[str], None]
    """Told the name of every phase."""
    phase: str = "starting"
    environment: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, Value] = field(default_factory=dict)
    phases_done: tuple[str, ...] = ()
    layers: int = 1
    """Layers that the figures are divided by, once the cell is ready."""
    shortest_ns: int = 0
    """Samples shorter than this are made of several calls, once the cell is ready: its timer's."""
    status: Status = Status.OK
    reason: str = ""

    def prepare(self) -> bool:
        """Follow the child until its cell can be timed; return whether it came to that."""
        try:
            while not isinstance(event := self._next(), CellReady):
                self._take(event)
        except SideEndedError:
            return False
        self.layers, self.shortest_ns = event.layers, event.shortest_ns
        self.phase = "timing"
        return True

    def __call__(self) -> Elapsed:
        """Let the child time one call."""
        return self.sample(1)

    def sample(self, calls: int) -> Elapsed:
        """Let the child time one sample of so many calls.

        Raises:
            SideEndedError: it failed, died or took too long.
        """
        os.write(self.turns, f"{calls}\n".encode())
        event = self._next()
        if not isinstance(event, SampleTaken):
            self.child.disbelieve(f"{type(event).__name__} in its turn")
            event = self._next()
        return Elapsed(ns=event.ns, host_ns=event.host_ns)

    def record(self, cell: Cell, metrics: Mapping[str, Value]) -> Record:
        """Return what happened to a cell, which gets the options that this side's mechanism knows."""
        return Record(
            cell=replace(cell, options=self.cell.options),
            status=self.status,
            reason=self.reason,
            metrics=metrics,
            environment=self.environment,
            attnbench_version=__version__,
        )

    def _take(self, event: object) -> None:
        match event:
            case EnvironmentTaken():
                self.environment = event.environment
            case OptionsKnown():
                self.cell = replace(self.cell, options=event.options)
            case Learned():
                self.metrics |= event.metrics
                self.phases_done = (*self.phases_done, event.phase)
            case PhaseEntered():
                self.phase = inert.brief(event.phase)
                self.watcher(self.phase)
            case _:
                self.child.disbelieve(f"{type(event).__name__} before its turn")

    def _next(self) -> Any:  # noqa: ANN401 - one of EVENTS
        event = self.child.next_event(timeout_s=self.timeout_s)
        if event is None:
            self.status = Status.TIMEOUT
            self.reason = late(self.phase, self.timeout_s)
        elif event is ENDED:
            death = self.child.death(self.phase)
            self.status, self.reason = death.status, death.reason
        elif isinstance(event, SideEnded):
            self.status, self.reason = event.status, inert.brief(event.reason)
        else:
            return event
        raise SideEndedError


@contextmanager
def start(
    assignment: Assignment,
    source: Path,
    *,
    settings: Settings,
    scratch: Path,
    log: Path,
    watcher: Callable[[str], None],
    module: str,
    core: int | None,
) -> Iterator[LockstepSide]:
    """Start the process of one side; it ends with the block.

    Args:
        assignment: the cell, and the phases that need not be done again.
        source: the package, or the file, that the cell's mechanism is to be loaded from.
        settings: how to measure.
        scratch: an empty folder.
        log: file for what the child prints.
        watcher: told the name of every phase.
        module: module that does the work.
        core: where a process of one thread is kept; None for wherever the system puts it.
    """
    (scratch / "packages").mkdir(parents=True)
    (scratch / "packages" / source.name).symlink_to(source)
    cell = assignment.cell
    path, _, attribute = cell.mechanism.rpartition(":")
    if path.endswith(".py"):
        cell = replace(cell, mechanism=f"{source}:{attribute}")
    job = scratch / "job.json"
    Job(assignments=(replace(assignment, cell=cell),), baseline="", settings=settings, samples="").write(job)
    os.mkfifo(scratch / "turns")
    # Opened both ways, so as not to wait for a reader. The child only reads, and sees the end if this process dies.
    turns = os.open(scratch / "turns", os.O_RDWR | os.O_CLOEXEC)
    try:
        kept = ANY if core is None or cell.threads != 1 else str(core)
        with Child(module, str(job), kept, events=EVENTS, log=log, threads=cell.threads) as child:
            yield LockstepSide(cell=cell, child=child, turns=turns, timeout_s=settings.timeout_s, watcher=watcher)
    finally:
        os.close(turns)


class TurnsTimer:
    """Makes a sample of a side by letting it take a turn; a Timer for ``attnbench.probes.latency``."""

    now_ns = staticmethod(time.perf_counter_ns)
    clock = ""

    def __init__(self, shortest_ns: int) -> None:
        self.shortest_ns = shortest_ns

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Return how long the side says that its calls took."""
        assert isinstance(call, LockstepSide)
        return call.sample(repeats)
