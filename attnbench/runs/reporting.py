"""Reports of runs, on the screen and on disk. Imports no torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from attnbench import files, store
from attnbench.compare.verdict import Comparison
from attnbench.errors import StoreError, UsageError
from attnbench.fleet.lacking import units as planned_units
from attnbench.history.account import History
from attnbench.record import Record
from attnbench.report import folder as report_folder
from attnbench.report import peers, summary, verdicts
from attnbench.report.findings import Findings
from attnbench.report.page.blocks import Page
from attnbench.report.page.latex import latex
from attnbench.report.page.markdown import markdown
from attnbench.report.page.screen import screen
from attnbench.report.page.screen import show as show_page
from attnbench.roofline import MachineLimits
from attnbench.runs import limits as machine_limits
from attnbench.runs import proofs
from attnbench.store import asked, parts, pytest_json
from attnbench.store.asked import Asked

TABLES, HISTORY = "tables.tex", "history.html"
_OBJECTS_BETWEEN_LOOKS = 200_000
_MOST_FILES, _MOST_MISSING = 16, 20
"""Plots, and cells without a row, that are named on a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a report left on disk."""

    drawn: tuple[Path, ...] = ()
    failures: tuple[str, ...] = ()
    """A line for each file that could not be made."""


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
def make_report(folders: Sequence[Path], *, out: Path, console: Console, command: str, as_latex: bool = False) -> None:
    """Show and write tables and plots of runs that are on disk.

    Args:
        folders: runs, or files that pytest-benchmark wrote with ``--benchmark-json``.
        out: where the report goes.
        console: where it is shown.
        command: what gave it.
        as_latex: whether the tables are written for a paper, too.

    Raises:
        StoreError: a folder or file cannot be read, or a file of the report not written; the others are.
    """
    placed = [each for path in folders for each in _placed(path)]
    records = tuple(each.record for each in placed)
    found = _asked(folders)
    within = [part for folder in folders for part in (parts.of(folder) if folder.is_dir() else [folder])]
    limits = machine_limits.of_all(folders)
    machines = peers.remarks(proofs.proven(placed))
    findings = Findings.of(records, dict.fromkeys([*folders, *within]), machines=machines, limits=limits)
    left = [planned_units(folder) for folder in folders if parts.is_shared(folder)]
    open_units = [words for each in left for words in each.lacking.values()]
    shown = found if found.commands else Asked(by_command={command: found.cells})
    written = write(findings, out, limits, shown, lacking=open_units)
    if as_latex:
        written = replace(written, failures=(*written.failures, *_write_latex(findings, out)))
    show(findings, console)
    missing = [*found.missing(list(findings.rows["cell_key"])), *open_units]
    if missing:
        count = len(found.cells) + sum(len(each.there) + len(each.lacking) for each in left)
        more = [f"{len(missing) - _MOST_MISSING} more, in report.md"] if len(missing) > _MOST_MISSING else []
        named = "; ".join([*missing[:_MOST_MISSING], *more])
        words = f"{len(missing)} of the {count} cells asked for have no row: {named}"
        console.print(Text(words), soft_wrap=True)
    name(written, out, console)


def make_figure(folders: Sequence[Path], wanted: Mapping[str, Any], *, out: Path, console: Console) -> None:
    """Make a figure for a paper of runs that are on disk, and name its files.

    Args:
        folders: runs, or files that pytest-benchmark wrote with ``--benchmark-json``.
        wanted: what it is to be like, as written, by the names of options.
        out: where it goes.
        console: where its files are named.

    Raises:
        UsageError: it cannot be like that, or there is nothing to draw.
        StoreError: a folder cannot be read, or a file not written.
    """
    from attnbench.report.plots import paper  # noqa: PLC0415 - matplotlib

    findings = Findings.of([record for path in folders for record in read(path)], limits=machine_limits.of_all(folders))
    figure = paper.read(wanted, findings.rows)
    try:
        written = paper.draw(findings.rows, figure, out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {files.reason_of(error)}; give another folder with --out") from None
    if not written:
        raise UsageError(
            f"--figure {figure.name}: nothing to draw: no mechanism was measured at two resolutions or more"
        )
    for path in written:
        console.print(Text(str(path)), soft_wrap=True)


def _write_latex(findings: Findings, folder: Path) -> tuple[str, ...]:
    """Write the tables for a paper; return why not, if they cannot be."""
    try:
        files.put(folder / TABLES, latex(findings.book))
    except OSError as error:
        return (f"cannot write {folder / TABLES}: {files.reason_of(error)}",)
    return ()


def _asked(folders: Sequence[Path]) -> Asked:
    """Return what was asked for of runs; of what is planned only the commands, since plans say the rest by kinds."""
    together: dict[str, dict[str, str]] = {}
    for folder in filter(Path.is_dir, folders):
        planned = planned_units(folder).cells if parts.is_shared(folder) else ()
        for command, cells in asked.read(folder).by_command.items():
            own = {key: words for key, words in cells.items() if key not in planned}
            together.setdefault(command, {}).update(own)
    return Asked(by_command=together)


def read(path: Path) -> list[Record]:
    """Return the records of a run, or of a file that pytest-benchmark wrote.

    Raises:
        StoreError: it cannot be read.
    """
    return pytest_json.records_from(path) if path.suffix == ".json" else store.read(path)


def _placed(path: Path) -> list[store.PlacedRecord]:
    if path.is_dir():
        return store.placed(path)
    return [store.PlacedRecord(record=each, folder=path.parent) for each in read(path)]


def write_history(found: History, page: Page, *, folder: Path, markdown_file: Path | None) -> list[Path]:
    """Write the page of a history, and what it says as Markdown if a file is given; return the files.

    Raises:
        StoreError: one cannot be written.
    """
    from attnbench.report.html.over_time import history_page  # noqa: PLC0415 - jinja2

    target = folder / HISTORY
    written = {target: history_page(found, page)}
    if markdown_file:
        written[markdown_file] = markdown(page, markdown_file.parent)
    for path, text in written.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.put(path, text)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {files.reason_of(error)}; give another place") from None
    return [*written]


def show_verdicts(found: Comparison, console: Console, file: Path | None) -> None:
    """Show verdicts, and write them as Markdown if a file is given.

    Raises:
        StoreError: the file cannot be written.
    """
    show_page(verdicts.page(found), console)
    if file is None:
        return
    try:
        files.put(file, markdown(verdicts.page(found), file.parent))
    except OSError as error:
        raise StoreError(f"cannot write {file}: {files.reason_of(error)}; give another file") from None


def show(findings: Findings, console: Console) -> None:
    """Show what was found on a screen."""
    console.print(screen(summary.summary(findings)))
    console.print()


def write(
    findings: Findings,
    folder: Path,
    limits: Mapping[str, MachineLimits],
    found: Asked,
    *,
    lacking: Sequence[str] = (),
) -> Written:
    """Write a report's files.

    Args:
        findings: what is reported.
        folder: where they go.
        limits: of the machines, by environment id.
        found: what was asked for.
        lacking: what is planned besides and has no row, in words.

    Raises:
        StoreError: it was interrupted.
    """
    missing = (*found.missing(list(findings.rows["cell_key"])), *lacking)
    try:
        drawn, failures = report_folder.write(
            findings, folder, limits, command="\n".join(found.commands), missing=missing
        )
    except KeyboardInterrupt:
        raise StoreError(f"interrupted while the report was written; attnbench report {folder} makes it") from None
    return Written(drawn=tuple(drawn), failures=tuple(failures))


def name(written: Written, folder: Path, console: Console) -> None:
    """Name the files that are there on a screen, and raise if one is not."""
    drawn = written.drawn
    named = [
        folder / name for name in ("records.jsonl", "records.csv", "crossovers.csv", "report.md", "report.html", TABLES)
    ]
    more = [f"and {len(drawn) - _MOST_FILES} more plots in {folder / 'plots'}"] if len(drawn) > _MOST_FILES else []
    for said in (*filter(Path.exists, (*named, *drawn[:_MOST_FILES])), *more):
        console.print(Text(str(said)), soft_wrap=True)
    if written.failures:
        again = f"the rows are kept; attnbench report {folder} makes the report again"
        raise StoreError("\n".join([*written.failures, again]))
