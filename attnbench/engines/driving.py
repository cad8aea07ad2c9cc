"""Has an engine start workers until every cell has its row, and starts anew what was lost on the way.

Nothing is kept but in the folder of the run and by the engine: whoever is killed here is started again.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench import files
from attnbench.engines import absent
from attnbench.engines.engine import Engine, WorkerCount, WorkerOrder
from attnbench.engines.progress import FleetProgress, KindProgress
from attnbench.engines.site import SiteProfile
from attnbench.errors import EngineError, NoMachineError
from attnbench.fleet.kinds import ANY
from attnbench.fleet.needs import GroupNeeds
from attnbench.fleet.planned import PlannedGroup
from attnbench.reading import MisreadError

_SPARE_S, _SPARE = 600.0, 2.0
"""What a worker is given more than its groups are expected to take: they are guesses, and a machine has to start."""
_FRUITLESS = 3
"""So many workers for each machine may end without a new row before no more are started."""
_LOOK_S, _URGENT_S = 1.0, 2.0
_SAY_S = 60.0
"""Seconds after which it is said once more how far it is, where that has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workforce:
    """Workers of one kind: what they are, and how many there may be at once."""

    order: WorkerOrder
    machines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveOutcome:
    """How it ended."""

    cells: int = 0
    done: int = 0
    """Cells that were measured, or cannot be."""
    absent: int = 0
    """Rows that were written because there is no machine."""
    refused: tuple[str, ...] = ()
    """Why no more workers were started, of each kind where cells are left; empty if all is done."""


def workforces(
    groups: Iterable[PlannedGroup],
    *,
    engine: Engine,
    site: SiteProfile,
    machines: int | None,
    words: Sequence[str] = (),
) -> list[Workforce]:
    """Return the workers that some groups need, for each kind of hardware.

    Args:
        groups: what is to be measured.
        engine: which is to start them.
        site: what its profile says.
        machines: at once of each kind; None for what the profile says.
        words: what ``attnbench work`` is given besides.
    """
    by_kind: dict[str, list[GroupNeeds]] = {}
    for group in groups:
        by_kind.setdefault(group.needs.kind, []).append(group.needs)
    found = []
    for kind, needs in by_kind.items():
        known = site.kinds.get(kind)
        several = machines or (known.machines if known else 1)
        share_s = sum(each.seconds for each in needs) / min(several, len(needs))
        order = WorkerOrder(
            folder=engine.folder,
            words=tuple(words),
            kind=kind,
            called=(known.hardware.named if known else "") or kind,
            told=engine.chooses and (known is None or known.told),
            device=needs[0].device,
            threads=max(each.threads for each in needs),
            seconds=_SPARE_S + _SPARE * max(share_s, *(each.seconds for each in needs)),
            longest_s=max(each.seconds for each in needs),
            options=site.options(type(engine), kind),
            described=known is not None and engine.name in known.tables,
        )
        found.append(Workforce(order=order, machines=min(several, len(needs))))
    return found


@dataclass(slots=True, kw_only=True)
class Drive:
    """A run on an engine."""

    folder: Path
    engine: Engine
    forces: list[Workforce]
    say: Callable[[str], None] = lambda _: None
    sleep: Callable[[float], object] = time.sleep
    clock_s: Callable[[], float] = time.monotonic

    def run(self) -> DriveOutcome:
        """Start workers until nothing is left for them, and come back when they have ended.

        Raises:
            StoreError: the folder cannot be read or written.
        """
        progress = FleetProgress(self.folder)
        crews = [_Crew(force=force, engine=self.engine, say=self.say, clock_s=self.clock_s) for force in self.forces]
        while True:
            found = progress.look()
            if not [crew for crew in crews if crew.tend(found[crew.force.order.kind], progress)]:
                break
            self.sleep(min(_LOOK_S, self.engine.poll_s))
        return DriveOutcome(
            cells=sum(kind.cells for kind in found.values()),
            done=sum(kind.done for kind in found.values()),
            absent=sum(crew.absent for crew in crews),
            refused=tuple(crew.given_up for crew in crews if crew.given_up),
        )


@dataclass(slots=True, kw_only=True)
class _Crew:
    """The workers of one kind, as they come and go."""

    force: Workforce
    engine: Engine
    say: Callable[[str], None]
    clock_s: Callable[[], float]
    absent: int = 0
    given_up: str | None = None
    """Why no more workers are started; empty where the rows say it."""
    _count: WorkerCount | None = None
    """None until the engine has answered."""
    _asked_at: float | None = None
    _complaint: str = ""
    _done: int = -1
    _fruitless: int = 0
    """Workers that were started since the last row came."""
    _told: str = ""
    _told_at: float = -math.inf

    def tend(self, state: KindProgress, progress: FleetProgress) -> bool:
        """Do what is to be done about them, and return whether there is more to come."""
        if self._done != state.done:
            self._done, self._fruitless = state.done, 0
        self._ask(urgent=not state.open)
        self._tell(state)
        if self._count is None:
            return True
        if not state.open:
            return self._wind_up(self._count)
        wanted = min(self.force.machines, state.open) - self._count.all
        if self.given_up is None and wanted > 0 and state.free:
            self._start(wanted, self._count, progress)
        return self.given_up is None or self._count.all > 0

    def _start(self, wanted: int, count: WorkerCount, progress: FleetProgress) -> None:
        if self._fruitless >= _FRUITLESS * self.force.machines:
            if not count.all:
                said = f"{self._fruitless} workers have ended without a row"
                self.given_up = f"{self._name}: {said}{_last_words(self.engine.logs)}"
            return
        try:
            started = self.engine.start(self.force.order, wanted)
        except NoMachineError as error:
            groups = progress.without_rows(self.force.order.kind)
            self.absent += absent.write(progress.folder, groups, f"no machine of {self._name}: {error}")
            self.given_up = ""
            self.say(f"{self._name}: no machine: {error}")
        except EngineError as error:
            self.given_up = f"{self._name}: {error}"
        else:
            if started:
                self._fruitless += wanted
                self._asked_at = None
                self.say(f"{self._name}: started {started}")

    def _wind_up(self, count: WorkerCount) -> bool:
        """Give up workers that wait, for nothing is left for them; return whether others are to be waited for."""
        gone = True
        if count.waiting:
            try:
                gone = self.engine.withdraw(self.force.order)
            except EngineError as error:
                self._complain(str(error))
                gone = False
        return count.running > 0 or not gone

    def _ask(self, *, urgent: bool) -> None:
        """Ask the engine how many there are, not too often."""
        now = self.clock_s()
        pause_s = min(self.engine.poll_s, _URGENT_S) if urgent else self.engine.poll_s
        if self._asked_at is not None and now - self._asked_at < pause_s:
            return
        self._asked_at = now
        try:
            self._count = self.engine.count(self.force.order)
            self._complaint = ""
        except EngineError as error:
            self._complain(str(error))

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            self._complaint = why
            self.say(f"{self._name}: {why}; it is asked again")

    def _tell(self, state: KindProgress) -> None:
        """Say how far they are, where workers have come or gone or all is done, and otherwise now and then."""
        workers = "workers not known"
        if self._count is not None:
            why = f" ({self._count.why})" if self._count.waiting and self._count.why else ""
            workers = f"{self._count.running} at work, {self._count.waiting} waiting{why}"
        cells = f"{state.done} of {state.cells} cells"
        line, (cells_before, _, workers_before) = f"{cells}; {workers}", self._told.partition("; ")
        news = workers != workers_before or (cells != cells_before and state.done == state.cells)
        begun = self._told or state.done or (self._count is not None and self._count.all)
        if begun and line != self._told and (news or self.clock_s() - self._told_at >= _SAY_S):
            self._told, self._told_at = line, self.clock_s()
            self.say(f"{self._name}: {line}")

    @property
    def _name(self) -> str:
        kind = self.force.order.kind
        return kind if kind != ANY else "any machine"


def _last_words(logs: Path) -> str:
    """Return what the worker that was heard of last has printed last, and where; empty if none has."""
    found = sorted(
        (path for path in logs.glob("*") if path.suffix in {".log", ".out"}), key=lambda path: path.stat().st_mtime
    )
    if not found:
        return ""
    with contextlib.suppress(MisreadError):
        lines = files.text_of(found[-1], errors="replace").split("\n")
        return f"; the last one said {next(filter(None, map(str.strip, reversed(lines))), 'nothing')!r}, {found[-1]}"
    return f"; see {found[-1]}"
