"""What a process says of its cells, or dies of, turned into their rows. Imports no torch."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from attnbench import inert
from attnbench.child import Death
from attnbench.record import Cell, Record, Status, Task, Value
from attnbench.runs.company import Company
from attnbench.runs.heard import (
    CellEnded,
    CellTimed,
    EnvironmentTaken,
    Learned,
    PhaseEntered,
    Progressed,
    SetApart,
    Warned,
)
from attnbench.runs.job import Assignment
from attnbench.runs.open_cells import OpenCells
from attnbench.runs.progress import Progress
from attnbench.runs.rows import Rows, attributed, cut, metrics_cut
from attnbench.store import unfinished
from attnbench.worker.objection import Objection, unverified

_START_UP = "starting"


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a process was last heard of."""

    cells: tuple[Cell, ...]
    at_work: int | None = None
    """Place of the cell at work; None for all of them, or none yet."""
    phase: str = _START_UP

    @property
    def shown(self) -> tuple[Cell, ...]:
        """The cells at work."""
        return self.cells if self.at_work is None else (self.cells[self.at_work],)

    def blamed(self, running: int | None) -> Sequence[Cell]:
        """Return the cell at work, or the one whose call is running; nothing where there is none."""
        index = running if running is not None and 0 <= running < len(self.cells) else self.at_work
        return [] if index is None else [self.cells[index]]


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """How the cells of a group end, over all of its processes."""

    open: OpenCells
    rows: Rows
    company: Company = field(default_factory=Company)
    tried: set[tuple[str, int]] = field(default_factory=set)
    """Where deaths that nobody answers for have struck: the cell at work, and how many were left."""
    timed_baseline: list[Assignment] = field(default_factory=list)
    """The baseline, once it was timed, for those that are timed apart; empty if it is a plugin's."""

    @property
    def reference(self) -> list[Assignment]:
        """What cells that are timed apart are compared with: the baseline, if nothing speaks against it."""
        return [] if self.rows.fallen else self.timed_baseline

    def knows(self, seen: Seen, index: int) -> bool:
        """Return whether the process at work has a cell of this place that it has not answered for."""
        return 0 <= index < len(seen.cells) and self.open.has(seen.cells[index])

    def hear(self, event: object, seen: Seen) -> Iterator[Record | Progress]:
        """Take in what a process has said: rows, or how far it is."""
        match event:
            case PhaseEntered(cell=index, phase=phase):
                seen.at_work, seen.phase = index, inert.brief(phase)
                if index is not None:
                    self.company.begin(self.open.of(seen.cells[index]))
                yield Progress(cells=seen.shown, phase=seen.phase)
            case Progressed(fraction=fraction):
                yield Progress(cells=seen.shown, phase=seen.phase, fraction=fraction)
            case CellTimed(cell=index, metrics=metrics, objections=objections):
                seen.at_work = index
                self._await_verdict(seen.cells[index], metrics_cut(metrics), objections)
            case CellEnded(cell=index):
                seen.at_work = index  # a worker that ends after it leaves the others to the next
                yield from self._end(seen.cells[index], event)
            case SetApart(cell=index, reason=reason):
                seen.at_work = index
                self.company.leave(self.open.drop(seen.cells[index]), cut(reason))
            case Learned(cell=index, phase=phase, metrics=metrics):
                self._learn(seen.cells[index], phase, metrics_cut(metrics))
            case EnvironmentTaken(environment=environment):
                self.rows.environment = environment
                self.open.settle_in(self.rows.environment_id)
            case Warned(text=text):
                warnings.warn(inert.brief(text), stacklevel=2)

    def blame(self, blamed: Sequence[Cell], death: Death) -> Iterator[Record]:
        """Give the cells that are to blame for a death their rows; where none is, all get theirs if it comes again."""
        crowded = death.status is Status.OUT_OF_MEMORY and not self.open.verifying
        if crowded and not blamed:  # whoever came last found least
            blamed = self.company.begun[-1:]
        nobodys = death.from_outside or not blamed
        if nobodys:
            here = (blamed[0].key if blamed else "", len(self.open.assignments))
            if here not in self.tried:
                self.tried.add(here)
                return
            death = replace(death, reason=f"{death.reason}; it was tried twice")
        for cell in blamed or [assignment.cell for assignment in self.open.left()]:
            if self.open.has(cell):
                yield from self._end_dead(self.open.drop(cell), death, "" if nobodys else cell.distribution)
        if crowded:
            self._spare_the_rest(death)

    def _spare_the_rest(self, death: Death) -> None:
        """Let cells that were still to come wait as well: what was there when memory ran out fits without them."""
        company = self.company
        for assignment in self.open.left() if len(company.begun) > 1 else ():
            needed = self._is_baseline(assignment) or assignment.companion
            if not (needed or assignment.foreign or assignment.cell in company.begun):
                company.wait_for_room(self.open.drop(assignment.cell), f"after others: {death.reason}")

    def _end_dead(self, assignment: Assignment, death: Death, distribution: str) -> Iterator[Record]:
        cell = assignment.cell
        if self.open.verifying:
            status, reason, metrics = unverified(assignment.objections, death.reason, timed=assignment.timed)
            yield self.rows.row(cell, status, reason, {**assignment.known, **metrics}, verified=True)
        elif not (assignment.companion or self._excuses(assignment, death.status, death.reason)):
            reason = attributed(death.reason, death.status, distribution)
            yield self.rows.row(cell, death.status, reason, assignment.known)

    def _await_verdict(self, cell: Cell, metrics: Mapping[str, Value], objections: tuple[Objection, ...]) -> None:
        assignment = self.open.drop(cell)
        self.open.await_verdict(assignment, metrics, objections)
        self._note_baseline(assignment)

    def _end(self, cell: Cell, event: CellEnded) -> Iterator[Record]:
        assignment, status, reason = self.open.drop(cell), event.status, cut(event.reason)
        if status is Status.OK:
            self._note_baseline(assignment)
        excused = not event.own and self._excuses(assignment, status, reason)
        if not (assignment.companion or excused):
            # What a rejected cell was timed at is nobody's figure, though the energy pass had it kept in any case.
            known = {name: value for name, value in assignment.known.items() if name not in assignment.timed}
            metrics = {**known, **metrics_cut(event.metrics)}
            reason = attributed(reason, status, cell.distribution)
            yield self.rows.row(cell, status, reason, metrics, verified=self.open.verifying)

    def _note_baseline(self, assignment: Assignment) -> None:
        if self._is_baseline(assignment) and not assignment.foreign:
            self.timed_baseline = [Assignment(cell=assignment.cell, companion=True)]

    def _is_baseline(self, assignment: Assignment) -> bool:
        return assignment.cell.key == self.rows.baseline

    def _excuses(self, assignment: Assignment, status: Status, reason: str) -> bool:
        spared = self.open.verifying or self._is_baseline(assignment)  # without a baseline there is no ratio
        if not spared and self.company.lacks_room(assignment, status, reason):
            return True
        excused = self.company.excuses(assignment, status, reason)
        if excused:  # what was found beside others is found again without them
            with contextlib.suppress(OSError):
                unfinished.drop(self.rows.folder, assignment.cell, self.rows.environment_id)
        return excused

    def _learn(self, cell: Cell, phase: str, metrics: Mapping[str, Value]) -> None:
        """Note what was found of a cell, on disk too, should the run be interrupted before the cell has its row."""
        self.open.learn(cell, phase, metrics)
        if cell.task is Task.COUNTS or self.open.of(cell).companion:  # whose row comes at once, or is there
            return
        with contextlib.suppress(OSError):  # a disk that is full ends the run at the next row, in a line
            unfinished.keep(self.rows.folder, cell, self.rows.environment_id, phase, metrics)
