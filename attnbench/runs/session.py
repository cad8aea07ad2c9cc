"""One run from what was asked to what is left on disk and on the screen."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from attnbench import files, store
from attnbench.axes import CLASSIFICATION
from attnbench.compare.verdict import Comparison
from attnbench.devices import checkout
from attnbench.devices.idle import IdleWait
from attnbench.errors import BusyError, StoreError, UsageError
from attnbench.plan import sweep
from attnbench.plan.described import described
from attnbench.plan.request import Request
from attnbench.plugins.options import aliased, split
from attnbench.record import Cell, Record, Scope, Status, Task
from attnbench.report.findings import Findings
from attnbench.runs import limits as machine_limits
from attnbench.runs import reporting, runner
from attnbench.runs.job import Settings
from attnbench.runs.loading import report_meanwhile
from attnbench.runs.screen import Screen, loading
from attnbench.store import asked, parts, unfinished
from attnbench.store.asked import Asked

RESULTS = Path("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOutcome:
    """How a run ended."""

    records: tuple[Record, ...]
    """Of the cells asked for, those that have a row by now."""
    interrupted: bool
    stopped: str = ""
    """Why it could not go on, with what is kept and how to go on; empty if it could."""

    @property
    def failed(self) -> bool:
        """Whether a cell did not end ok."""
        return any(record.status is not Status.OK for record in self.records)


def run(
    request: Request,
    *,
    settings: Settings,
    out: Path | None,
    fresh: bool,
    retry: bool,
    console: Console,
    command: str,
    idle_within_s: float | None = None,
) -> SessionOutcome:
    """Measure what has no row yet, show the table and write the report.

    Args:
        request: what is asked for.
        settings: how cells are measured.
        out: folder of the run; by default one that is named after the request.
        fresh: put what the folder holds aside and start over.
        retry: run again the cells that did not end ok.
        console: where it is shown.
        command: as typed.
        idle_within_s: for how long to wait before cells are timed until nobody else uses the machine; None for not.

    Raises:
        UsageError: anything asked for cannot be used; nothing has run then.
        StoreError: the folder cannot be written, or what is in it cannot be read.
    """
    with loading(console) as watcher, report_meanwhile():
        planned = plan(request, settings, watcher=watcher)
    folder = out or folder_of(request)
    outcome = measure(
        planned,
        settings=settings,
        folder=folder,
        fresh=fresh,
        retry=retry,
        console=console,
        command=command,
        idle_within_s=idle_within_s,
    )
    if outcome.records:
        limits = machine_limits.roofs(folder)
        findings = Findings.of(outcome.records, [folder], limits=limits)
        written = reporting.Written()
        if not outcome.interrupted:
            written = reporting.write(findings, folder, limits, Asked(by_command={command: {}}))
        reporting.show(findings, console)
        reporting.name(written, folder, console)
    if outcome.stopped:
        raise StoreError(outcome.stopped)
    return outcome


def measure(
    planned: sweep.Sweep,
    *,
    settings: Settings,
    folder: Path,
    fresh: bool,
    retry: bool,
    console: Console,
    command: str,
    idle_within_s: float | None = None,
) -> SessionOutcome:
    """Measure what has no row yet, each row on disk as soon as it is known.

    A disk that fails on the way stops it, as does a machine that is to be idle and is not; the outcome says so, and has
    what was measured until then.

    Raises:
        StoreError: the folder cannot be written, or what is in it cannot be read.
    """
    interrupted, why = False, ""
    _refuse_shared(folder)
    with store.Store(folder, fresh=fresh) as kept:
        asked.keep(folder, command=command, cells=described(planned.cells), fresh=fresh)
        if fresh:
            unfinished.forget(folder)
        rows = {record.cell.key for record in kept.records}
        known = {key: facts for key, facts in unfinished.read(folder).items() if key not in rows}
        final = [record for record in kept.records if settings.accept(record)]
        recorded = [record for record in final if not retry or record.status is Status.OK]
        done = {record.cell.key for record in recorded}
        todo = [cell for cell in planned.cells if cell.key not in done]
        if len(todo) < len(planned.cells):
            there = f"{len(planned.cells) - len(todo)} of {len(planned.cells)} cells have their row in {folder}"
            console.print(Text(there), soft_wrap=True)
        ready = partial(require_idle, say=lambda line: console.print(Text(line), soft_wrap=True))
        with Screen(console, todo, settings=settings) as screen:
            try:
                timed = [cell for cell in todo if cell.task is Task.COST]
                ready(idle_within_s if timed else None)
                each_s, bounded = min(machine_limits.EACH_S, settings.max_time_s), list[Cell]()
                limits = machine_limits.measure(folder, timed, budget_s=each_s, isolation=settings.isolation)
                for record in runner.run(
                    planned,
                    settings=settings,
                    folder=folder,
                    recorded=recorded,
                    known=known,
                    limits=limits,
                    project=checkout.project(Path.cwd(), but=folder),
                    watcher=screen.watch,
                    before_timing=partial(ready, idle_within_s),
                ):
                    kept.append(record)
                    screen.show(record)
                    bounded += [record.cell] if "latency_bound_s" in record.metrics else []
                machine_limits.measure_after(folder, bounded, budget_s=each_s, isolation=settings.isolation)
            except KeyboardInterrupt:
                interrupted = True
            except (StoreError, BusyError) as error:
                why = str(error)
            except OSError as error:
                why = ": ".join(filter(None, (error.filename and str(error.filename), files.reason_of(error))))
            except MemoryError:
                why = "memory ran out"
        wanted = {cell.key for cell in planned.cells}
        records = tuple(record for record in kept.records if record.cell.key in wanted)
    begun = unfinished.unrecorded(folder, wanted - {record.cell.key for record in records})
    if len(records) == len(wanted):
        with contextlib.suppress(OSError):  # of cells that have their rows nothing is taken up
            unfinished.forget(folder)
    more = f", and what is known by now of {begun} more" if begun else ""
    said = f"{len(records)} of {len(planned.cells)} cells are kept{more}; run the same command to resume"
    if interrupted:
        console.print(Text(f"interrupted; {said}"), soft_wrap=True)
    stopped = f"{why}; {said} once that is mended" if why else ""
    return SessionOutcome(records=records, interrupted=interrupted, stopped=stopped)


def require_idle(within_s: float | None, *, say: Callable[[str], object]) -> None:
    """Wait until nobody else uses the machine, where that is required.

    Args:
        within_s: for how long; None where it is not required.
        say: told what is waited for.

    Raises:
        BusyError: somebody still does.
    """
    if within_s is not None and (why := IdleWait(within_s=within_s, say=say).wait()):
        raise BusyError(why)


def _refuse_shared(folder: Path) -> None:
    """Refuse a folder that workers share: what one of them is at work on would be measured twice.

    Raises:
        StoreError: it is one.
    """
    if parts.is_shared(folder):
        raise StoreError(
            f"{folder} is planned for many machines: attnbench plan ... --out {folder} adds to it, "
            f"attnbench work {folder} measures, attnbench report {folder} shows it; or give another folder with --out"
        )
    if parts.is_made_of_parts(folder):
        raise StoreError(
            f"{folder} is merged of several runs, and what was measured elsewhere is not measured here: give another "
            f"folder with --out, and attnbench merge makes one of both"
        )


def rerun(
    revision: str, request: Request, settings: Settings, *, threshold: float, out: Path | None, console: Console
) -> Comparison:
    """Measure a git revision and the working tree, interleaved, and compare them.

    Raises:
        UsageError: the revision or anything asked for cannot be used; nothing has run then.
    """
    from attnbench.compare import rerun as lockstep  # noqa: PLC0415 - torch

    mistakes = []
    if Scope.NETWORK in request.written("scope"):
        mistakes.append("--rerun compares mechanisms; leave network out of --scope")
    if set(request.written("task")) - {CLASSIFICATION}:
        mistakes.append("--rerun compares mechanisms, and heads are put on networks; leave --task out")
    if mistakes:
        raise UsageError(*mistakes)
    planned = plan(request, settings)
    folder = out or RESULTS / f"rerun-{re.sub(r'[^A-Za-z0-9.-]', '-', revision)}"
    return lockstep.rerun(
        revision,
        planned.cells,
        settings=settings,
        folder=folder,
        threshold=threshold,
        say=lambda line: console.print(Text(line), soft_wrap=True),
    )


def plan(request: Request, settings: Settings, *, watcher: Callable[[str], None] = lambda _: None) -> sweep.Sweep:
    """Look at what is asked for and return its cells.

    Raises:
        UsageError: anything asked for cannot be used.
    """
    return sweep.plan(request, sweep.look(request, settings, watcher=watcher))


def folder_of(request: Request) -> Path:
    """Return the folder of a request: its name readable, and the same each time the same is asked for."""
    names = "+".join(dict.fromkeys(map(_short, request.mechanisms + request.networks)))
    readable = f"{names}-{'+'.join(request.sizes_written)}"
    return RESULTS / f"{re.sub(r'[^A-Za-z0-9+x.-]', '', readable)[:60]}-{request.digest[:6]}"


def _short(spec: str) -> str:
    """Return what the user calls a mechanism or network, or its name: no options, and of a path the class alone."""
    alias, spec = aliased(spec)
    if alias:
        return alias
    return split(spec)[0].rpartition(":")[2]
