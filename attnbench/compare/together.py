"""Both revisions of a cell in one process, seen by the parent; ``joint`` is the child. Never torch.

This is how a comparison is as precise as a run: code and libraries lie where they lie for both, and rounds of both are
a few milliseconds apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from attnbench import inert
from attnbench.child import ENDED, Child, late
from attnbench.child.scratch import scratch
from attnbench.compare.blocks import Sufficiency, TimedBlock
from attnbench.record import Options, Value
from attnbench.runs.heard import EnvironmentTaken, Learned, PhaseEntered
from attnbench.runs.job import Assignment, Job, Settings

SIDES: Final = ("base", "head")
"""The names of the two cells, in the order in which the child has them."""
FEWEST = 6
"""Blocks that are timed whatever they cost."""
_FIRST_LOOK = 12
"""Blocks before the precision may end it: with 11 degrees of freedom an interval is an eighth wider than with any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionsOfSide:
    """The options that a revision of the mechanism has."""

    cell: int
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReady:
    """Both cells can be timed."""

    layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTimed:
    """The samples of one block of rounds, and what has disturbed the rounds so far."""

    base_ns: tuple[int, ...]
    head_ns: tuple[int, ...]
    disturbed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incompatible:
    """The two cannot be timed in one process."""

    reason: str


EVENTS: Final[Mapping[str, type]] = {
    "environment": EnvironmentTaken,
    "options": OptionsOfSide,
    "phase": PhaseEntered,
    "metrics": Learned,
    "ready": PairReady,
    "block": BlockTimed,
    "incompatible": Incompatible,
}


class NotTogetherError(Exception):
    """The two cannot be timed in one process; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """What both revisions of a cell showed in one process."""

    blocks: tuple[TimedBlock, ...]
    options: tuple[Options, ...]
    metrics: tuple[Mapping[str, Value], ...]
    """Those of the phases before the timing; as the options, of base and of head."""
    environment: Mapping[str, Any]
    layers: int
    disturbed: str


@dataclass(slots=True, kw_only=True)
class Together:
    """Measures a cell in both revisions, in a process that has both."""

    assignments: tuple[Assignment, Assignment]
    """Of base and of head."""
    repository: Path
    tree: Path
    """The checkout of base."""
    settings: Settings
    log: Path
    watcher: Callable[[str], None]
    """Told the name of every phase."""
    module: str
    clock: Callable[[], float] = time.monotonic
    _environment: Mapping[str, Any] = field(default_factory=dict)
    _options: dict[int, Options] = field(default_factory=dict)
    _layers: int = 1
    _disturbed: str = ""
    _phase: str = "starting"

    def measure(self) -> Joint:
        """Time blocks until they are enough.

        Raises:
            NotTogetherError: they cannot be timed in one process.
        """
        with closing(self.blocks()) as timed:
            blocks = self.enough_of(timed)
        return Joint(
            blocks=tuple(blocks),
            options=(self._options[0], self._options[1]),
            metrics=tuple(dict(each.known) for each in self.assignments),
            environment=self._environment,
            layers=self._layers,
            disturbed=self._disturbed,
        )

    def enough_of(self, timed: Iterable[TimedBlock | None]) -> list[TimedBlock]:
        """Return blocks until they are enough."""
        enough = Sufficiency(
            precision=self.settings.precision,
            budget_s=2 * self.settings.max_time_s,
            fewest=FEWEST,
            first_look=_FIRST_LOOK,
        )
        blocks, began = list[TimedBlock](), self.clock()
        for block in timed:
            if block is None:  # the time before the first block is not that of rounds
                began = began if blocks else self.clock()
                continue
            blocks.append(block)
            if enough.reached(blocks, spent_s=self.clock() - began):
                break
        return blocks

    def blocks(self) -> Generator[TimedBlock | None, None, None]:
        """Yield None when both are ready, then blocks; the same of another process when one has ended as it should.

        Raises:
            NotTogetherError: they cannot be timed in one process.
        """
        while True:
            with scratch() as folder, self._started(folder) as child:
                timed = 0
                for event in self._heard(child):
                    if isinstance(event, PairReady):
                        self._layers = event.layers
                        self._enter("timing")
                        yield None
                    elif isinstance(event, BlockTimed):
                        timed, self._disturbed = timed + 1, inert.brief(event.disturbed) or self._disturbed
                        yield _checked(event, child)
                    else:
                        self._take(event)
                if not timed or child.exit_status != 0:
                    raise NotTogetherError(child.death(self._phase).reason)

    def _started(self, folder: Path) -> Child:
        job = folder / "job.json"
        Job(assignments=self.assignments, baseline="", settings=self.settings, samples="").write(job)
        arguments = str(job), str(self.repository), str(self.tree)
        threads, isolation = self.assignments[0].cell.threads, self.settings.isolation
        return Child(self.module, *arguments, events=EVENTS, log=self.log, threads=threads, isolation=isolation)

    def _heard(self, child: Child) -> Iterator[Any]:
        while (event := child.next_event(timeout_s=self.settings.timeout_s)) is not ENDED:
            if event is None:
                raise NotTogetherError(late(self._phase, self.settings.timeout_s))
            yield event

    def _take(self, event: object) -> None:
        match event:
            case EnvironmentTaken():
                self._environment = event.environment
            case OptionsOfSide(cell=0 | 1):
                self._options[event.cell] = event.options
            case Learned(cell=0 | 1):
                self._learn(event)
            case PhaseEntered(cell=0 | 1 as cell):
                self._enter(f"{inert.brief(event.phase)} ({SIDES[cell]})")
            case Incompatible():
                raise NotTogetherError(f"{self._phase}: {inert.brief(event.reason)}")
            case _:
                raise NotTogetherError(f"{type(event).__name__} in its turn")

    def _learn(self, event: Learned) -> None:
        both = list(self.assignments)
        known = both[event.cell]
        both[event.cell] = replace(
            known, known={**known.known, **event.metrics}, phases_done=(*known.phases_done, event.phase)
        )
        self.assignments = both[0], both[1]

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self.watcher(phase)


def _checked(event: BlockTimed, child: Child) -> TimedBlock:
    """Return the block of an event, which a plugin cannot have made up unless it is one."""
    if min((*event.base_ns, *event.head_ns), default=0) <= 0 or len(event.base_ns) != len(event.head_ns):
        child.disbelieve("a block without times")
        raise NotTogetherError("it said a block without times")
    return TimedBlock(base_ns=event.base_ns, head_ns=event.head_ns)
