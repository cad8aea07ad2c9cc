"""A group of cells on its way to its records: a process after the other, each with a deadline for what it does.

It imports no torch and never polls: while a worker measures, it sleeps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attnbench.child import ENDED, Child, Death, late
from attnbench.child.scratch import scratch
from attnbench.errors import StoreError
from attnbench.record import Record, Status
from attnbench.runs.beside import is_independent
from attnbench.runs.heard import WORKER
from attnbench.runs.job import Assignment, Job, Running
from attnbench.runs.outcomes import Outcomes, Seen
from attnbench.runs.progress import Progress
from attnbench.runs.rows import CHECKPOINTS, SAMPLES

REFEREE = "attnbench.worker.referee"
"""Module that verifies what was timed."""


@dataclass(slots=True, kw_only=True)
class Group:
    """The cells that share a process, over as many processes as it takes."""

    outcomes: Outcomes
    worker_module: str
    stopped: bool = False
    worker: Child | None = None

    def run(self) -> Iterator[Record | Progress]:
        """Yield the records of all cells as they end, and what is going on meanwhile."""
        yield from self._run_processes()
        while not self.stopped and (following := self.outcomes.company.next(self.outcomes.reference)):
            self.outcomes.open.assignments = following
            yield from self._run_processes()

    def stop(self) -> None:
        """Make the run end soon, from whichever thread."""
        self.stopped = True
        if self.worker is not None:
            self.worker.dismiss()

    def _run_processes(self) -> Iterator[Record | Progress]:
        still = self.outcomes.open
        with scratch() as evidence:
            while not (self.stopped or still.are_done()):
                self.outcomes.company.enter()
                judged = still.to_be_judged(self.outcomes.rows.baseline)
                still.verifying = bool(judged)
                if not judged:
                    self.outcomes.rows.start()
                module = REFEREE if judged else self.worker_module
                yield from self._run_process(module, judged or still.assignments, evidence)

    def _run_process(
        self, module: str, assignments: Sequence[Assignment], evidence: Path
    ) -> Iterator[Record | Progress]:
        first, rows = assignments[0].cell, self.outcomes.rows
        log = rows.folder / "logs" / f"{first.key if is_independent(first) else first.group}.log"
        with contextlib.suppress(OSError):  # a log that cannot be written is warned of
            log.parent.mkdir(parents=True, exist_ok=True)
        with scratch() as folder:
            job = folder / "job.json"
            self._write(job, assignments, evidence)
            page = Running(job.with_suffix(".running"))
            isolation = rows.settings.isolation
            seen = Seen(cells=tuple(assignment.cell for assignment in assignments))
            with Child(
                module, str(job), events=WORKER, log=log, threads=first.threads, isolation=isolation
            ) as self.worker:
                if not self.stopped:
                    yield from self._follow(self.worker, page, seen)

    def _write(self, path: Path, assignments: Sequence[Assignment], evidence: Path) -> None:
        rows = self.outcomes.rows
        job = Job(
            assignments=tuple(assignments),
            baseline=rows.baseline,
            settings=rows.settings,
            samples=str(rows.folder.resolve() / SAMPLES),
            checkpoints=str(rows.folder.resolve() / CHECKPOINTS),
            evidence=str(evidence),
            limits=rows.limits,
            precise=rows.are_precise(each.cell for each in assignments),
        )
        try:
            job.write(path)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; make room, or set TMPDIR") from None

    def _follow(self, worker: Child, page: Running, seen: Seen) -> Iterator[Record | Progress]:
        """Turn a process's events into records until it has ended, whichever way."""
        timeout_s = self.outcomes.rows.settings.timeout_s
        wait_s = timeout_s
        while True:
            event = worker.next_event(timeout_s=wait_s)
            wait_s = timeout_s
            if event is None:
                running, since_s = page.current()
                if running is not None and since_s < timeout_s:
                    wait_s = timeout_s - since_s
                    continue
                worker.end()
                delay = Death(status=Status.TIMEOUT, reason=late(seen.phase, timeout_s))
                yield from self.outcomes.blame(seen.blamed(running), delay)
                return
            if event is ENDED:
                running, _ = page.current()
                yield from self._bury(worker, seen, running)
                return
            index = getattr(event, "cell", None)
            if index is None or self.outcomes.knows(seen, index):
                yield from self.outcomes.hear(event, seen)
            else:
                worker.disbelieve(f"cell {index} of {len(seen.cells)}")

    def _bury(self, worker: Child, seen: Seen, running: int | None) -> Iterator[Record]:
        """Give the cells that an ended process leaves behind their due; none are left if it ended well."""
        if all(assignment.companion for assignment in self.outcomes.open.left()):
            return
        death = worker.death(seen.phase)
        if worker.exit_status is not None and worker.exit_status >= 0:
            death = replace(death, reason=f"{death.reason}; see {worker.log}")
        yield from self.outcomes.blame(seen.blamed(running), death)
