"""Runs the cells of a sweep: a worker per group of comparable cells, a deadline per phase, a record per cell.

The runner imports no torch and never polls: while a worker measures, it sleeps.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from attnbench import __version__, inert
from attnbench.child import ENDED, Child, Death, late
from attnbench.child.scratch import scratch
from attnbench.devices.machine import usable_cores
from attnbench.errors import StoreError
from attnbench.metrics import METRICS
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status, Task, Value
from attnbench.roofline import MachineLimits
from attnbench.runs.at_once import at_once
from attnbench.runs.company import Company
from attnbench.runs.heard import (
    WORKER,
    CellEnded,
    CellTimed,
    EnvironmentTaken,
    Learned,
    PhaseEntered,
    Progressed,
    SetApart,
    Warned,
)
from attnbench.runs.job import Assignment, Job, Running, Settings
from attnbench.store import unfinished
from attnbench.store.unfinished import Begun
from attnbench.worker.objection import Objection, verdict

_MOST_AT_ONCE, _FEWEST_EACH = 4, 8
"""Workers that count at once, each of which may hold a network's weights, and cells that one is worth its start."""
_START_UP = "starting"
REFEREE = "attnbench.worker.referee"
"""Module that verifies what was timed."""
SAMPLES = "samples"
"""Folder of the timed calls, in that of a run."""
_TEXT = 2000
"""Characters of a reason, or of a metric that is a text, that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is going on, for whoever watches."""

    cells: tuple[Cell, ...]
    """The cell at work, or all of a group while they are timed in turn."""
    phase: str
    fraction: float | None = None
    """How much of the phase is done, where that is known."""


Watcher = Callable[[Progress], None]


def run(
    sweep: Sweep,
    *,
    settings: Settings,
    folder: Path,
    recorded: Sequence[Record] = (),
    known: Mapping[str, Begun] | None = None,
    limits: Mapping[str, MachineLimits] | None = None,
    watcher: Watcher = lambda _: None,
    worker_module: str = "attnbench.worker.main",
) -> Iterator[Record]:
    """Yield a record for every cell that has none yet, as it ends.

    Args:
        sweep: cells and their baselines.
        settings: how to measure.
        folder: where the run is kept; raw samples and logs go below it.
        recorded: what is there already; those cells are skipped.
        known: what an interrupted run found of cells without a row, by their key.
        limits: the machine's limits by environment id, for the rows' lower bounds.
        watcher: called when a cell enters a phase.
        worker_module: module that does the work.
    """
    run_id = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    done = {record.cell.key: record for record in recorded}
    limits_by_id = {key: found.to_dict() for key, found in (limits or {}).items()}

    def group(todo: Sequence[Cell], *, companions: Sequence[Cell] = (), baseline: str = "") -> _Group:
        assignments = [_taken_up(cell, (known or {}).get(cell.key)) for cell in todo]
        assignments += [Assignment(cell=cell, companion=True) for cell in companions]
        return _Group(
            assignments=assignments,
            baseline=baseline,
            settings=settings,
            limits=limits_by_id,
            folder=folder,
            run_id=run_id,
            worker_module=worker_module,
        )

    for cells in _sharing(sweep.cells):
        todo = [cell for cell in cells if cell.key not in done]
        for cell in todo:
            if cell.key in sweep.endings:
                status, reason = sweep.endings[cell.key]
                reason = _attributed(reason, status, cell.distribution)
                when = {"run_id": run_id, "started_at": _now()}
                yield _record(cell, status, reason, settings=asdict(settings), **when)
        todo = [cell for cell in todo if cell.key not in sweep.endings]
        if not todo:
            continue
        if _only_counted(cells[0]):
            works = [group(part) for part in _dealt(todo)]
        else:
            baseline = sweep.baselines.get(cells[0].group, "")
            kept = [cell for cell in cells if cell.key == baseline and cell.key in done]
            again = [cell for cell in kept if done[cell.key].status is Status.OK]
            works = [group(todo, companions=again, baseline=baseline)]
        with contextlib.closing(_run(works)) as happens:
            for each in happens:
                if isinstance(each, Progress):
                    watcher(each)
                else:
                    yield each


def _taken_up(cell: Cell, found: Begun | None) -> Assignment:
    """Return what is to be done about a cell of which an interrupted run has found something, or nothing."""
    if found is None:
        return Assignment(cell=cell)
    return Assignment(cell=cell, known=found.metrics, phases_done=found.phases, known_in=found.environment_id)


def _sharing(cells: Sequence[Cell]) -> Iterable[list[Cell]]:
    """Return the cells that share a worker: those that are timed in turn, and all that one device is only named for."""
    together: dict[object, list[Cell]] = {}
    for cell in cells:
        shared = (cell.device, cell.threads) if _only_counted(cell) else cell.group
        together.setdefault(shared, []).append(cell)
    return together.values()


def _only_counted(cell: Cell) -> bool:
    return cell.task is Task.COUNTS


def _dealt(cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """Return cells that are only counted in as many parts as are counted at once: one a core, none a handful."""
    parts = max(1, min(len(usable_cores()), _MOST_AT_ONCE, len(cells) // _FEWEST_EACH))
    return [cells[part::parts] for part in range(parts)]


def _run(groups: Sequence[_Group]) -> Generator[Record | Progress, None, None]:
    """Run groups, at once if there are several, their records in the order that they would have if there were one."""

    def stop() -> None:
        for group in groups:
            group.stop()

    if len(groups) == 1:
        yield from groups[0].run()
        return
    order = deque(one.cell.key for row in zip_longest(*(group.assignments for group in groups)) for one in row if one)
    come: dict[str, Record] = {}
    with contextlib.closing(at_once([group.run() for group in groups], stop=stop)) as happens:
        for each in happens:
            if isinstance(each, Progress):
                yield each
                continue
            come[each.cell.key] = each
            while order and order[0] in come:
                yield come.pop(order.popleft())


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What a worker was last heard of."""

    cells: tuple[Cell, ...]
    at_work: int | None = None
    """Place of the cell at work; None for all of them, or none yet."""
    phase: str = _START_UP

    @property
    def shown(self) -> tuple[Cell, ...]:
        return self.cells if self.at_work is None else (self.cells[self.at_work],)

    def blamed(self, running: int | None) -> Sequence[Cell]:
        """Return the cell at work, or the one whose call is running; nothing where there is none."""
        index = running if running is not None and 0 <= running < len(self.cells) else self.at_work
        return [] if index is None else [self.cells[index]]


@dataclass(slots=True, kw_only=True)
class _Group:
    """The cells of one group on their way to their records, over as many workers as it takes."""

    assignments: list[Assignment]
    baseline: str
    settings: Settings
    limits: Mapping[str, Mapping[str, Any]]
    folder: Path
    run_id: str
    worker_module: str
    environment: Mapping[str, Any] = field(default_factory=dict)
    started_at: str = ""
    tried: set[tuple[str, int]] = field(default_factory=set)
    """Where deaths that nobody answers for have struck: the cell at work, and how many were left."""
    company: Company = field(default_factory=Company)
    reference: list[Assignment] = field(default_factory=list)
    """The baseline, once it was timed, for those that are timed apart; empty if it is a plugin's."""
    stopped: bool = False
    worker: Child | None = None
    verifying: bool = False
    """Whether the process at work is the referee."""
    fallen: str = ""
    """Why nothing is compared with the baseline, once something speaks against it."""

    def run(self) -> Iterator[Record | Progress]:
        self.reference = [each for each in self.assignments if each.companion and not each.foreign]
        yield from self._run_workers()
        while self.company.waiting and not self.stopped:
            self.assignments = [*self.reference, self.company.waiting.pop(0)]
            yield from self._run_workers()

    def _run_workers(self) -> Iterator[Record | Progress]:
        with scratch() as evidence:
            while not self.stopped and any(not assignment.companion for assignment in self.assignments):
                self.company.beside.clear()
                judged = _to_be_judged(self.assignments, self.baseline)
                self.verifying = bool(judged)
                if not judged:
                    self.started_at = _now()
                module = REFEREE if judged else self.worker_module
                yield from self._run_process(module, judged or self.assignments, evidence)

    def stop(self) -> None:
        """Make the run end soon, from whichever thread."""
        self.stopped = True
        if self.worker is not None:
            self.worker.dismiss()

    def _run_process(
        self, module: str, assignments: Sequence[Assignment], evidence: Path
    ) -> Iterator[Record | Progress]:
        first = assignments[0].cell
        log = self.folder / "logs" / f"{first.key if _only_counted(first) else first.group}.log"
        with contextlib.suppress(OSError):  # a log that cannot be written is warned of
            log.parent.mkdir(parents=True, exist_ok=True)
        with scratch() as folder:
            job = folder / "job.json"
            self._write(job, assignments, evidence)
            page = Running(job.with_suffix(".running"))
            threads = self.assignments[0].cell.threads
            isolation = self.settings.isolation
            seen = _Seen(cells=tuple(assignment.cell for assignment in assignments))
            with Child(module, str(job), events=WORKER, log=log, threads=threads, isolation=isolation) as self.worker:
                if not self.stopped:
                    yield from self._follow(self.worker, page, seen)

    def _write(self, path: Path, assignments: Sequence[Assignment], evidence: Path) -> None:
        job = Job(
            assignments=tuple(assignments),
            baseline=self.baseline,
            settings=self.settings,
            samples=str(self.folder.resolve() / SAMPLES),
            evidence=str(evidence),
            limits=self.limits,
        )
        try:
            job.write(path)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; make room, or set TMPDIR") from None

    def _follow(self, worker: Child, page: Running, seen: _Seen) -> Iterator[Record | Progress]:
        """Turn a process's events into records until it has ended, whichever way."""
        wait_s = self.settings.timeout_s
        while True:
            event = worker.next_event(timeout_s=wait_s)
            wait_s = self.settings.timeout_s
            if event is None:
                running, since_s = page.current()
                if running is not None and since_s < self.settings.timeout_s:
                    wait_s = self.settings.timeout_s - since_s
                    continue
                worker.end()
                delay = Death(status=Status.TIMEOUT, reason=late(seen.phase, self.settings.timeout_s))
                yield from self._blame(seen.blamed(running), delay)
                return
            if event is ENDED:
                running, _ = page.current()
                yield from self._bury(worker, seen.blamed(running), seen.phase)
                return
            index = getattr(event, "cell", None)
            if index is None or self._open(seen.cells, index):
                yield from self._hear(event, seen)
            else:
                worker.disbelieve(f"cell {index} of {len(seen.cells)}")

    def _hear(self, event: object, seen: _Seen) -> Iterator[Record | Progress]:
        match event:
            case PhaseEntered(cell=index, phase=phase):
                seen.at_work, seen.phase = index, inert.brief(phase)
                if index is not None:
                    self.company.begin(self._of(seen.cells[index]))
                yield Progress(cells=seen.shown, phase=seen.phase)
            case Progressed(fraction=fraction):
                yield Progress(cells=seen.shown, phase=seen.phase, fraction=fraction)
            case CellTimed(cell=index, metrics=metrics, objections=objections):
                seen.at_work = index
                self._await_verdict(seen.cells[index], _cut(metrics), objections)
            case CellEnded(cell=index):
                seen.at_work = index  # a worker that ends after it leaves the others to the next
                yield from self._end(seen.cells[index], event)
            case SetApart(cell=index, reason=reason):
                seen.at_work = index
                self.company.leave(self._drop(seen.cells[index]), inert.brief(reason, most=_TEXT))
            case Learned(cell=index, phase=phase, metrics=metrics):
                self._learn(seen.cells[index], phase, _cut(metrics))
                self._keep(seen.cells[index], phase, _cut(metrics))
            case EnvironmentTaken(environment=environment):
                self.environment = environment
                self.assignments = [each.within(self._environment_id) for each in self.assignments]
            case Warned(text=text):
                warnings.warn(inert.brief(text), stacklevel=2)

    def _open(self, cells: Sequence[Cell], index: int) -> bool:
        """Return whether the process at work has a cell of this place that it has not answered for."""
        return 0 <= index < len(cells) and any(assignment.cell is cells[index] for assignment in self._left())

    def _left(self) -> list[Assignment]:
        """Return what the process at work has still to answer for."""
        return [assignment for assignment in self.assignments if bool(assignment.timed) is self.verifying]

    def _await_verdict(self, cell: Cell, metrics: Mapping[str, Value], objections: tuple[Objection, ...]) -> None:
        assignment = self._drop(cell)
        if not assignment.companion:
            self.assignments.append(replace(assignment, timed=metrics, objections=objections))
        if cell.key == self.baseline and not assignment.foreign:
            self.reference = [Assignment(cell=cell, companion=True)]

    def _end(self, cell: Cell, event: CellEnded) -> Iterator[Record]:
        assignment, status = self._drop(cell), event.status
        reason = inert.brief(event.reason, most=_TEXT)
        if status is Status.OK and cell.key == self.baseline and not assignment.foreign:
            self.reference = [Assignment(cell=cell, companion=True)]
        excused = not event.own and self._excuses(assignment, status, reason)
        if not (assignment.companion or excused):
            # What a rejected cell was timed at is nobody's figure, though the energy pass had it kept in any case.
            known = {name: value for name, value in assignment.known.items() if name not in assignment.timed}
            metrics = {**known, **_cut(event.metrics)}
            yield self._record(cell, status, _attributed(reason, status, cell.distribution), metrics)

    def _bury(self, worker: Child, blamed: Sequence[Cell], phase: str) -> Iterator[Record]:
        """Give the cells that an ended worker leaves behind their due; none are left if it ended well."""
        if all(assignment.companion for assignment in self._left()):
            return
        death = worker.death(phase)
        if worker.exit_status is not None and worker.exit_status >= 0:
            death = replace(death, reason=f"{death.reason}; see {worker.log}")
        yield from self._blame(blamed, death)

    def _blame(self, blamed: Sequence[Cell], death: Death) -> Iterator[Record]:
        """Give the cells that are to blame for a death their rows; where none is, all get theirs if it comes again."""
        nobodys = death.from_outside or not blamed
        if nobodys:
            here = (blamed[0].key if blamed else "", len(self.assignments))
            if here not in self.tried:
                self.tried.add(here)
                return
            death = replace(death, reason=f"{death.reason}; it was tried twice")
        left = [assignment.cell for assignment in self._left()]
        for cell in blamed or left:
            if any(cell is each for each in left):
                assignment = self._drop(cell)
                if self.verifying:
                    status, reason, metrics = _unverified(assignment, death.reason)
                    yield self._record(cell, status, reason, {**assignment.known, **metrics})
                elif not (assignment.companion or self._excuses(assignment, death.status, death.reason)):
                    reason = _attributed(death.reason, death.status, "" if nobodys else cell.distribution)
                    yield self._record(cell, death.status, reason, assignment.known)

    def _excuses(self, assignment: Assignment, status: Status, reason: str) -> bool:
        excused = self.company.excuses(assignment, status, reason)
        if excused:  # what was found beside others is found again without them
            with contextlib.suppress(OSError):
                unfinished.drop(self.folder, assignment.cell, self._environment_id)
        return excused

    def _learn(self, cell: Cell, phase: str, metrics: Mapping[str, Value]) -> None:
        for index, assignment in enumerate(self.assignments):
            if assignment.cell is cell:
                self.assignments[index] = replace(
                    assignment,
                    known={**assignment.known, **metrics},
                    phases_done=(*assignment.phases_done, phase),
                )

    def _keep(self, cell: Cell, phase: str, metrics: Mapping[str, Value]) -> None:
        """Have what was found of a cell on disk, should this run be interrupted before the cell has its row."""
        if _only_counted(cell) or self._of(cell).companion:  # whose row comes at once, or is there
            return
        with contextlib.suppress(OSError):  # a disk that is full ends the run at the next row, in a line
            unfinished.keep(self.folder, cell, self._environment_id, phase, metrics)

    @property
    def _environment_id(self) -> str:
        return str(self.environment.get("environment_id", ""))

    def _of(self, cell: Cell) -> Assignment:
        return next(assignment for assignment in self.assignments if assignment.cell is cell)

    def _drop(self, cell: Cell) -> Assignment:
        index = next(i for i, assignment in enumerate(self.assignments) if assignment.cell is cell)
        return self.assignments.pop(index)

    def _record(self, cell: Cell, status: Status, reason: str, metrics: Mapping[str, Value]) -> Record:
        if cell.key == self.baseline and self.verifying:
            self.fallen = _objected(status, metrics)
            self.reference = [] if self.fallen else self.reference
        elif self.fallen and "latency_ratio" in metrics:
            metrics = _without_ratio(metrics, self.fallen)
        bounded, timed = "latency_bound_s" in metrics, "latency_median_s" in metrics
        return _record(
            cell,
            status,
            reason,
            metrics=metrics,
            environment=self.environment,
            settings=asdict(self.settings),
            limits=self.limits.get(self._environment_id, {}) if bounded else {},
            samples_sha256=_digest(samples_of(self.folder, cell)) if timed else "",
            run_id=self.run_id,
            started_at=self.started_at,
        )


def _record(cell: Cell, status: Status, reason: str, **what: Any) -> Record:  # noqa: ANN401 - the record's fields
    return Record(cell=cell, status=status, reason=reason, attnbench_version=__version__, **what)


def _to_be_judged(assignments: Sequence[Assignment], baseline: str) -> list[Assignment]:
    """Return what the next referee is given: the baseline first, since nothing is compared with one that falls.

    A plugin of others has a referee of its own: what it does to that process is not to be held against anybody else.
    """
    timed = sorted((each for each in assignments if each.timed), key=lambda each: each.cell.key != baseline)
    house = [each for each in timed if not each.foreign]
    return house if house and not timed[0].foreign else timed[:1]


def _unverified(assignment: Assignment, reason: str) -> tuple[Status, str, Mapping[str, Value]]:
    """Return status, reason and metrics of a timed cell whose referee has ended before it came to a verdict."""
    doubt = Objection(said=f"its timed calls could not be verified: {reason}", sure=False)
    return verdict([*assignment.objections, doubt], {"verified": f"none: {reason}"}, timed=assignment.timed)


def _objected(status: Status, metrics: Mapping[str, Value]) -> str:
    """Return why others are not compared with a baseline, empty if nothing speaks against it."""
    if status is not Status.OK:
        return f"the baseline is {status}"
    return "the baseline is suspicious" if metrics.get("suspicious") else ""


def _without_ratio(metrics: Mapping[str, Value], why: str) -> dict[str, Value]:
    """Return metrics without what compares them with the baseline, and with why."""
    ratio = {"latency_ratio", *METRICS["latency_ratio"].ends}
    return {**{name: value for name, value in metrics.items() if name not in ratio}, "latency_ratio_remark": why}


def samples_of(folder: Path, cell: Cell) -> Path:
    """Return the file of a cell's timed calls in the folder of a run."""
    return folder / SAMPLES / f"{cell.key}.npz"


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _attributed(reason: str, status: Status, distribution: str) -> str:
    """Name who answers for what went wrong, where that is the plugin."""
    at_fault = status in {Status.FAILED, Status.CRASHED, Status.TIMEOUT, Status.REJECTED} and distribution
    return f"{reason} [{distribution}]" if at_fault else reason


def _cut(metrics: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: inert.brief(value, most=_TEXT) if isinstance(value, str) else value for name, value in metrics.items()
    }
