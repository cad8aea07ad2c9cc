"""One run from what was asked to what is left on disk and on the screen."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from attnbench import ceiling, frame, pytest_json, runner, store, survey, sweep
from attnbench.bounds import MachineLimits
from attnbench.compare.verdict import Comparison
from attnbench.errors import StoreError, UsageError, did_you_mean
from attnbench.job import Settings
from attnbench.progress import Screen
from attnbench.record import Record, Status, Task
from attnbench.registry import discover
from attnbench.report import standings, verdicts
from attnbench.report.crossover import crossovers
from attnbench.report.environments import describe
from attnbench.report.markdown import write_report
from attnbench.report.tables import screen_table, write_csv
from attnbench.request import CLASSIFICATION, USUAL, Request

RESULTS = Path("results")
_LIMITS_S = 1.0
"""Most time for each of the machine's rates, in seconds; no more than a cell is given."""
_SETTING_NAMES = {
    "precision": "precision",
    "max_time": "max_time_s",
    "timeout": "timeout_s",
    "memory_limit": "memory_limit_bytes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    records: tuple[Record, ...]
    """Of the cells asked for, those that have a row by now."""
    interrupted: bool

    @property
    def failed(self) -> bool:
        """Whether a cell did not end ok."""
        return any(record.status is not Status.OK for record in self.records)


def read_request(path: Path | None, given: Mapping[str, Any], *, threads: int) -> tuple[Request, Settings]:
    """Return what is asked for, from a TOML file and from options; options go first.

    Raises:
        UsageError: the file cannot be read, or names something that is no option.
    """
    wanted = _read_toml(path) if path else {}
    wanted |= {name: value for name, value in given.items() if value is not None}
    if wanted.get("networks"):
        wanted.setdefault("scope", ("network",))
    if set(wanted.get("scope", ())) != {"network"}:
        wanted.setdefault("mechanisms", tuple(discover().plugins))
    wanted.setdefault("threads", threads)
    return Request(**{name: value for name, value in wanted.items() if name not in _SETTING_NAMES}), settings_of(wanted)


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Return how to measure, from options by the names of the command line.

    Raises:
        UsageError: a number that cannot be.
    """
    return _checked(
        Settings(**{field: given[name] for name, field in _SETTING_NAMES.items() if given.get(name) is not None})
    )


def run(
    request: Request,
    *,
    settings: Settings,
    out: Path | None,
    fresh: bool,
    retry: bool,
    console: Console,
    command: str,
) -> Outcome:
    """Measure what has no row yet, show the table and write the report.

    Raises:
        UsageError: anything asked for cannot be used; nothing has run then.
        StoreError: the folder cannot be written, or what is in it cannot be read.
    """
    folder = out or RESULTS / _name(request)
    outcome = measure(plan(request), settings=settings, folder=folder, fresh=fresh, retry=retry, console=console)
    if outcome.records:
        _show(outcome.records, console)
        if not outcome.interrupted:
            _write(outcome.records, folder, ceiling.read(folder), command, console)
    return outcome


def measure(
    planned: sweep.Sweep, *, settings: Settings, folder: Path, fresh: bool, retry: bool, console: Console
) -> Outcome:
    """Measure what has no row yet, each row on disk as soon as it is known.

    Raises:
        StoreError: the folder cannot be written, or what is in it cannot be read.
    """
    interrupted = False
    with store.Store(folder, fresh=fresh) as kept:
        recorded = [record for record in kept.records if not retry or record.status is Status.OK]
        done = {record.cell.key for record in recorded}
        todo = [cell for cell in planned.cells if cell.key not in done]
        if len(todo) < len(planned.cells):
            console.print(f"{len(planned.cells) - len(todo)} of {len(planned.cells)} cells have their row in {folder}")
        with Screen(console, todo, settings=settings) as screen:
            try:
                timed = [cell for cell in todo if cell.task is Task.COST]
                limits = ceiling.measure(folder, timed, budget_s=min(_LIMITS_S, settings.max_time_s))
                for record in runner.run(
                    planned, settings=settings, folder=folder, recorded=recorded, limits=limits, watcher=screen.watch
                ):
                    kept.append(record)
                    screen.show(record)
            except KeyboardInterrupt:
                interrupted = True
        asked = {cell.key for cell in planned.cells}
        records = tuple(record for record in kept.records if record.cell.key in asked)
    if interrupted:
        console.print(f"interrupted; {len(records)} of {len(planned.cells)} cells are kept, the same command goes on")
    return Outcome(records=records, interrupted=interrupted)


def make_report(folders: Sequence[Path], *, out: Path, console: Console, command: str) -> None:
    """Show and write tables and plots of runs that are on disk.

    Args:
        folders: runs, or files that pytest-benchmark wrote with ``--benchmark-json``.
        out: where the report goes.
        console: where it is shown.
        command: what gave it.

    Raises:
        StoreError: a folder or file cannot be read.
    """
    records = tuple(record for path in folders for record in _read(path))
    _show(records, console)
    limits = {key: found for folder in folders for key, found in ceiling.read(folder).items()}
    _write(records, out, limits, command, console)


def _read(path: Path) -> list[Record]:
    return pytest_json.records_from(path) if path.suffix == ".json" else store.read(path)


def rerun(
    revision: str, request: Request, settings: Settings, *, threshold: float, out: Path | None, console: Console
) -> Comparison:
    """Measure a git revision and the working tree, interleaved, and compare them.

    Raises:
        UsageError: the revision or anything asked for cannot be used; nothing has run then.
    """
    from attnbench.compare import rerun as lockstep  # noqa: PLC0415 - torch

    planned = plan(request)
    folder = out or RESULTS / f"rerun-{re.sub(r'[^A-Za-z0-9.-]', '-', revision)}"
    with Screen(console, planned.cells, settings=settings) as screen:
        return lockstep.rerun(
            revision, planned.cells, settings=settings, folder=folder, threshold=threshold, watcher=screen.watch
        )


def show_verdicts(found: Comparison, console: Console, markdown: Path | None) -> None:
    """Show verdicts, and write them as Markdown if a file is given.

    Raises:
        StoreError: the file cannot be written.
    """
    console.print(verdicts.screen(found))
    if markdown is None:
        return
    try:
        markdown.write_text(verdicts.to_markdown(found), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {markdown}: {error.strerror}; give another file") from None


def plan(request: Request) -> sweep.Sweep:
    """Look at what is asked for and return its cells.

    Raises:
        UsageError: anything asked for cannot be used.
    """
    return sweep.plan(request, survey.take(request.wanted, dataset=request.accuracy, sizes=request.sizes))


def _show(records: Sequence[Record], console: Console) -> None:
    rows = frame.rows(records)
    console.print(screen_table(rows))
    console.print(standings.screen_lines(rows, console.width), end="")


def _write(
    records: Sequence[Record], folder: Path, limits: Mapping[str, MachineLimits], command: str, console: Console
) -> None:
    from attnbench.report import plots, roofline  # noqa: PLC0415 - matplotlib takes longer to import than the rest to write

    rows = frame.rows(records)
    environments = {r.environment["environment_id"]: describe(r.environment) for r in records if r.environment}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(rows, folder / "records.csv")
        crossed = crossovers(rows)
        standings.write_csv(crossed, folder / "crossovers.csv")
        drawn = [*plots.draw(rows, folder / "plots"), *roofline.draw(rows, limits, folder / "plots")]
        write_report(
            rows, folder / "report.md", command=command, environments=environments, plots=drawn, crossovers=crossed
        )
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}; give another folder with --out") from None
    written = ["records.jsonl", "records.csv", "crossovers.csv", "report.md"]
    for name in (*written, *(str(path.relative_to(folder)) for path in drawn)):
        if (folder / name).exists():
            console.print(Text(str(folder / name)), soft_wrap=True)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    names = [field.name for field in fields(Request)]
    read = {name.replace("-", "_"): value for name, value in content.items()}
    unknown = [name for name in read if name not in (*names, *_SETTING_NAMES)]
    if unknown:
        raise UsageError(
            *(f"{path}: unknown name {name!r}; {did_you_mean(name, [*names, *_SETTING_NAMES])}" for name in unknown)
        )
    axes = {field.name for field in fields(Request) if str(field.type).startswith("tuple")}
    return {name: _axis(value) if name in axes else value for name, value in read.items()}


def _axis(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(str(part) for part in value) if isinstance(value, list) else (str(value),)


def _checked(settings: Settings) -> Settings:
    mistakes = [
        f"--{name.replace('_', '-')} {getattr(settings, field)}: expected a number above 0"
        for name, field in _SETTING_NAMES.items()
        if getattr(settings, field) is not None and not getattr(settings, field) > 0
    ]
    if mistakes:
        raise UsageError(*mistakes)
    return settings


def _name(request: Request) -> str:
    """Return the folder name of a request: readable, and the same each time the same is asked for."""
    asked = json.dumps(asdict(request), sort_keys=True)
    names = "+".join(map(_short, request.mechanisms + request.networks))
    sizes = request.res or ((USUAL,) if request.task == (CLASSIFICATION,) else request.task)
    readable = f"{names}-{'+'.join(sizes)}"
    return f"{re.sub(r'[^A-Za-z0-9+x.-]', '', readable)[:60]}-{hashlib.sha256(asked.encode()).hexdigest()[:6]}"


def _short(spec: str) -> str:
    """Return a mechanism's or network's name without its options, a local file's class instead of its path."""
    path, _, attribute = spec.partition(".py:")
    return attribute.partition(":")[0] if attribute else path.partition(":")[0]
