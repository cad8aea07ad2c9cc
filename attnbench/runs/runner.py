"""Runs the cells of a sweep: a worker per group of comparable cells, a deadline per phase, a record per cell.

The runner imports no torch and never polls: while a worker measures, it sleeps.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnbench import __version__
from attnbench.child import ENDED, Child, late
from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status, Task, Value
from attnbench.roofline import MachineLimits
from attnbench.runs.job import Assignment, Event, Job, Running, Settings

_START_UP = "starting"
SAMPLES = "samples"
"""Folder of the timed calls, in that of a run."""


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
        limits: the machine's limits by environment id, for the rows' lower bounds.
        watcher: called when a cell enters a phase.
        worker_module: module that does the work.
    """
    run_id = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    done = {record.cell.key: record for record in recorded}
    for cells in _sharing(sweep.cells):
        todo = [cell for cell in cells if cell.key not in done]
        for cell in todo:
            if cell.key in sweep.endings:
                status, reason = sweep.endings[cell.key]
                when = {"run_id": run_id, "started_at": _now()}
                yield _record(cell, status, reason, settings=asdict(settings), **when)
        todo = [cell for cell in todo if cell.key not in sweep.endings]
        if not todo:
            continue
        assignments = [Assignment(cell=cell) for cell in todo]
        baseline = "" if _only_counted(cells[0]) else sweep.baselines.get(cells[0].group, "")
        assignments += [
            Assignment(cell=cell, companion=True)
            for cell in cells
            if cell.key == baseline and cell.key in done and done[cell.key].status is Status.OK
        ]
        work = _Group(
            assignments=assignments,
            baseline=baseline,
            settings=settings,
            limits={key: found.to_dict() for key, found in (limits or {}).items()},
            folder=folder,
            run_id=run_id,
            watcher=watcher,
            worker_module=worker_module,
        )
        yield from work.run()


def _sharing(cells: Sequence[Cell]) -> Iterable[list[Cell]]:
    """Return the cells that share a worker: those that are timed in turn, and all that one device is only named for."""
    together: dict[object, list[Cell]] = {}
    for cell in cells:
        shared = (cell.device, cell.threads) if _only_counted(cell) else cell.group
        together.setdefault(shared, []).append(cell)
    return together.values()


def _only_counted(cell: Cell) -> bool:
    return cell.task is Task.COUNTS


@dataclass(slots=True, kw_only=True)
class _Group:
    """The cells of one group on their way to their records, over as many workers as it takes."""

    assignments: list[Assignment]
    baseline: str
    settings: Settings
    limits: Mapping[str, Mapping[str, Any]]
    folder: Path
    run_id: str
    watcher: Watcher
    worker_module: str
    environment: Mapping[str, Any] = field(default_factory=dict)
    started_at: str = ""

    def run(self) -> Iterator[Record]:
        while any(not assignment.companion for assignment in self.assignments):
            yield from self._run_worker()

    def _run_worker(self) -> Iterator[Record]:
        self.started_at = _now()
        log = self.folder / "logs" / f"{self.assignments[0].cell.group}.log"
        log.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="attnbench-") as scratch:
            job = Path(scratch) / "job.json"
            Job(
                assignments=tuple(self.assignments),
                baseline=self.baseline,
                settings=self.settings,
                samples=str(self.folder.resolve() / SAMPLES),
                limits=self.limits,
            ).write(job)
            page = Running(job.with_suffix(".running"))
            threads = self.assignments[0].cell.threads
            isolation = self.settings.isolation
            with Child(self.worker_module, str(job), log=log, threads=threads, isolation=isolation) as worker:
                yield from self._follow(worker, page)

    def _follow(self, worker: Child, page: Running) -> Iterator[Record]:
        """Turn a worker's events into records until it has ended, whichever way."""
        cells = [assignment.cell for assignment in self.assignments]
        at_work, phase = None, _START_UP
        wait_s = self.settings.timeout_s
        while True:
            event = worker.next_event(timeout_s=wait_s)
            if event is None:
                running, since_s = page.current()
                if running is not None and since_s < self.settings.timeout_s:
                    wait_s = self.settings.timeout_s - since_s
                    continue
                worker.end()
                reason = late(phase, self.settings.timeout_s)
                yield from self._blame(_blamed(cells, at_work, running), Status.TIMEOUT, reason)
                return
            wait_s = self.settings.timeout_s
            if event is ENDED:
                running, _ = page.current()
                yield from self._bury(worker, _blamed(cells, at_work, running), phase)
                return
            if event["event"] == "phase":
                at_work, phase = event["cell"], event["phase"]
                self.watcher(Progress(cells=_shown(cells, at_work), phase=phase))
            elif event["event"] == "progress":
                self.watcher(Progress(cells=_shown(cells, at_work), phase=phase, fraction=event["fraction"]))
            else:
                if event["event"] == "done":
                    at_work = event["cell"]  # a worker that ends after it leaves the others to the next
                yield from self._take(event, cells)

    def _take(self, event: Event, cells: Sequence[Cell]) -> Iterator[Record]:
        if event["event"] == "environment":
            self.environment = event["environment"]
        elif event["event"] == "metrics":
            self._learn(cells[event["cell"]], event["phase"], event["metrics"])
        elif event["event"] == "done":
            assignment = self._drop(cells[event["cell"]])
            if not assignment.companion:
                metrics = {**assignment.known, **event["metrics"]}
                yield self._record(assignment.cell, Status(event["status"]), event["reason"], metrics)

    def _bury(self, worker: Child, blamed: Sequence[Cell], phase: str) -> Iterator[Record]:
        """Give the cells that an ended worker leaves behind their due; none are left if it ended well."""
        if not self.assignments or all(a.companion for a in self.assignments):
            return
        status, reason = worker.cause_of_death(phase)
        if worker.exit_status is not None and worker.exit_status >= 0:
            reason += f"; see {worker.log}"
        yield from self._blame(blamed, status, reason)

    def _blame(self, blamed: Sequence[Cell], status: Status, reason: str) -> Iterator[Record]:
        still_here = {assignment.cell.key for assignment in self.assignments}
        for cell in blamed or [assignment.cell for assignment in self.assignments]:
            if cell.key in still_here:
                assignment = self._drop(cell)
                if not assignment.companion:
                    yield self._record(cell, status, reason, assignment.known)

    def _learn(self, cell: Cell, phase: str, metrics: Mapping[str, Value]) -> None:
        for index, assignment in enumerate(self.assignments):
            if assignment.cell is cell:
                self.assignments[index] = replace(
                    assignment,
                    known={**assignment.known, **metrics},
                    phases_done=(*assignment.phases_done, phase),
                )

    def _drop(self, cell: Cell) -> Assignment:
        index = next(i for i, assignment in enumerate(self.assignments) if assignment.cell is cell)
        return self.assignments.pop(index)

    def _record(self, cell: Cell, status: Status, reason: str, metrics: Mapping[str, Value]) -> Record:
        bounded, timed = "latency_bound_s" in metrics, "latency_median_s" in metrics
        return _record(
            cell,
            status,
            reason,
            metrics=metrics,
            environment=self.environment,
            settings=asdict(self.settings),
            limits=self.limits.get(str(self.environment.get("environment_id")), {}) if bounded else {},
            samples_sha256=_digest(samples_of(self.folder, cell)) if timed else "",
            run_id=self.run_id,
            started_at=self.started_at,
        )


def _record(cell: Cell, status: Status, reason: str, **what: Any) -> Record:  # noqa: ANN401 - the record's fields
    reason = _attributed(reason, status, cell.distribution)
    return Record(cell=cell, status=status, reason=reason, attnbench_version=__version__, **what)


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


def _blamed(cells: Sequence[Cell], at_work: int | None, running: int | None) -> list[Cell]:
    index = running if running is not None else at_work
    return [] if index is None else [cells[index]]


def _shown(cells: Sequence[Cell], at_work: int | None) -> tuple[Cell, ...]:
    return tuple(cells) if at_work is None else (cells[at_work],)
