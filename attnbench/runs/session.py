"""One run from what was asked to what is left on disk and on the screen."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from attnbench import files, store
from attnbench.cli.progress import Screen, described, loading
from attnbench.compare.verdict import Comparison
from attnbench.errors import StoreError, UsageError
from attnbench.plan import preflight, sweep
from attnbench.plan.request import Request
from attnbench.plugins.options import aliased, split
from attnbench.record import Record, Scope, Status, Task
from attnbench.report import folder as report_folder
from attnbench.report import summary, verdicts
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import markdown
from attnbench.report.page.screen import screen
from attnbench.roofline import MachineLimits
from attnbench.runs import limits as machine_limits
from attnbench.runs import runner
from attnbench.runs.job import Settings
from attnbench.runs.loading import report_meanwhile
from attnbench.store import asked, pytest_json, unfinished
from attnbench.store.asked import Asked

RESULTS = Path("results")
_OBJECTS_BETWEEN_LOOKS = 200_000
_MOST_FILES, _MOST_MISSING = 16, 20
"""Plots, and cells without a row, that are named on a screen."""
_LIMITS_S = 1.0
"""Most time for each of the machine's rates, in seconds; no more than a cell is given."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What a report left on disk."""

    drawn: tuple[Path, ...] = ()
    failures: tuple[str, ...] = ()
    """A line for each file that could not be made."""


_NOTHING = _Written()


def run(
    request: Request,
    *,
    settings: Settings,
    out: Path | None,
    fresh: bool,
    retry: bool,
    console: Console,
    command: str,
) -> SessionOutcome:
    """Measure what has no row yet, show the table and write the report.

    Raises:
        UsageError: anything asked for cannot be used; nothing has run then.
        StoreError: the folder cannot be written, or what is in it cannot be read.
    """
    with loading(console) as watcher, report_meanwhile():
        planned = plan(request, settings, watcher=watcher)
    folder = out or folder_of(request)
    outcome = measure(
        planned, settings=settings, folder=folder, fresh=fresh, retry=retry, console=console, command=command
    )
    if outcome.records:
        findings = Findings.of(outcome.records, [folder])
        written = _NOTHING
        if not outcome.interrupted:
            written = _write(findings, folder, machine_limits.read(folder), Asked(by_command={command: {}}))
        _show(findings, console)
        _name(written, folder, console)
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
) -> SessionOutcome:
    """Measure what has no row yet, each row on disk as soon as it is known.

    A disk that fails on the way stops it; the outcome says so, and has what was measured until then.

    Raises:
        StoreError: the folder cannot be written, or what is in it cannot be read.
    """
    interrupted, why = False, ""
    with store.Store(folder, fresh=fresh) as kept:
        asked.keep(folder, command=command, cells=described(planned.cells), fresh=fresh)
        if fresh:
            unfinished.forget(folder)
        rows = {record.cell.key for record in kept.records}
        known = {key: facts for key, facts in unfinished.read(folder).items() if key not in rows}
        recorded = [record for record in kept.records if not retry or record.status is Status.OK]
        done = {record.cell.key for record in recorded}
        todo = [cell for cell in planned.cells if cell.key not in done]
        if len(todo) < len(planned.cells):
            there = f"{len(planned.cells) - len(todo)} of {len(planned.cells)} cells have their row in {folder}"
            console.print(Text(there), soft_wrap=True)
        with Screen(console, todo, settings=settings) as screen:
            try:
                timed = [cell for cell in todo if cell.task is Task.COST]
                limits = machine_limits.measure(
                    folder, timed, budget_s=min(_LIMITS_S, settings.max_time_s), isolation=settings.isolation
                )
                for record in runner.run(
                    planned,
                    settings=settings,
                    folder=folder,
                    recorded=recorded,
                    known=known,
                    limits=limits,
                    watcher=screen.watch,
                ):
                    kept.append(record)
                    screen.show(record)
            except KeyboardInterrupt:
                interrupted = True
            except StoreError as error:
                why = str(error)
            except OSError as error:
                why = ": ".join(filter(None, (error.filename and str(error.filename), files.reason_of(error))))
        wanted = {cell.key for cell in planned.cells}
        records = tuple(record for record in kept.records if record.cell.key in wanted)
    begun = unfinished.unrecorded(folder, wanted - {record.cell.key for record in records})
    if len(records) == len(wanted):
        unfinished.forget(folder)
    more = f", and what is known by now of {begun} more" if begun else ""
    said = f"{len(records)} of {len(planned.cells)} cells are kept{more}; run the same command to resume"
    if interrupted:
        console.print(f"interrupted; {said}")
    stopped = f"{why}; {said} once that is mended" if why else ""
    return SessionOutcome(records=records, interrupted=interrupted, stopped=stopped)


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Look for garbage seldom: a report makes millions of objects and keeps them, and each look goes through all."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_rarely_collected()
def make_report(folders: Sequence[Path], *, out: Path, console: Console, command: str) -> None:
    """Show and write tables and plots of runs that are on disk.

    Args:
        folders: runs, or files that pytest-benchmark wrote with ``--benchmark-json``.
        out: where the report goes.
        console: where it is shown.
        command: what gave it.

    Raises:
        StoreError: a folder or file cannot be read, or a file of the report not written; the others are.
    """
    records = tuple(record for path in folders for record in read(path))
    found = _asked(folders)
    findings = Findings.of(records, folders)
    limits = {key: limit for folder in folders for key, limit in machine_limits.read(folder).items()}
    written = _write(findings, out, limits, found if found.commands else Asked(by_command={command: found.cells}))
    _show(findings, console)
    missing = found.missing(list(findings.rows["cell_key"]))
    if missing:
        more = [f"{len(missing) - _MOST_MISSING} more, in report.md"] if len(missing) > _MOST_MISSING else []
        named = "; ".join([*missing[:_MOST_MISSING], *more])
        words = f"{len(missing)} of the {len(found.cells)} cells asked for have no row: {named}"
        console.print(Text(words), soft_wrap=True)
    _name(written, out, console)


def _asked(folders: Sequence[Path]) -> Asked:
    together: dict[str, dict[str, str]] = {}
    for folder in filter(Path.is_dir, folders):
        for command, cells in asked.read(folder).by_command.items():
            together.setdefault(command, {}).update(cells)
    return Asked(by_command=together)


def read(path: Path) -> list[Record]:
    """Return the records of a run, or of a file that pytest-benchmark wrote.

    Raises:
        StoreError: it cannot be read.
    """
    return pytest_json.records_from(path) if path.suffix == ".json" else store.read(path)


def rerun(
    revision: str, request: Request, settings: Settings, *, threshold: float, out: Path | None, console: Console
) -> Comparison:
    """Measure a git revision and the working tree, interleaved, and compare them.

    Raises:
        UsageError: the revision or anything asked for cannot be used; nothing has run then.
    """
    from attnbench.compare import rerun as lockstep  # noqa: PLC0415 - torch

    if Scope.NETWORK in request.written("scope"):
        raise UsageError("--rerun compares mechanisms; leave network out of --scope")
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


def show_verdicts(found: Comparison, console: Console, file: Path | None) -> None:
    """Show verdicts, and write them as Markdown if a file is given.

    Raises:
        StoreError: the file cannot be written.
    """
    console.print(screen(verdicts.page(found)))
    if file is None:
        return
    try:
        files.put(file, markdown(verdicts.page(found), file.parent))
    except OSError as error:
        raise StoreError(f"cannot write {file}: {files.reason_of(error)}; give another file") from None


def plan(request: Request, settings: Settings, *, watcher: Callable[[str], None] = lambda _: None) -> sweep.Sweep:
    """Look at what is asked for and return its cells.

    Raises:
        UsageError: anything asked for cannot be used.
    """
    found = preflight.take(
        request.wanted,
        dataset=request.accuracy,
        sizes=request.sizes,
        timeout_s=settings.timeout_s,
        isolation=settings.isolation,
        watcher=watcher,
    )
    return sweep.plan(request, found)


def _show(findings: Findings, console: Console) -> None:
    console.print(screen(summary.summary(findings)))
    console.print()


def _write(findings: Findings, folder: Path, limits: Mapping[str, MachineLimits], found: Asked) -> _Written:
    missing = found.missing(list(findings.rows["cell_key"]))
    try:
        drawn, failures = report_folder.write(
            findings, folder, limits, command="\n".join(found.commands), missing=missing
        )
    except KeyboardInterrupt:
        raise StoreError(f"interrupted while the report was written; attnbench report {folder} makes it") from None
    return _Written(drawn=tuple(drawn), failures=tuple(failures))


def _name(written: _Written, folder: Path, console: Console) -> None:
    """Name the files that are there on a screen, and raise if one is not."""
    drawn = written.drawn
    named = [folder / name for name in ("records.jsonl", "records.csv", "crossovers.csv", "report.md", "report.html")]
    more = [f"and {len(drawn) - _MOST_FILES} more plots in {folder / 'plots'}"] if len(drawn) > _MOST_FILES else []
    for said in (*filter(Path.exists, (*named, *drawn[:_MOST_FILES])), *more):
        console.print(Text(str(said)), soft_wrap=True)
    if written.failures:
        again = f"the rows are kept; attnbench report {folder} makes the report again"
        raise StoreError("\n".join([*written.failures, again]))


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
