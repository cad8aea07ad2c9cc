"""Learning tasks with many mechanisms, a run a task, and the page of what came of it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from attnbench.accuracy.data import places
from attnbench.accuracy.tasks.table import TASKS, read
from attnbench.errors import DataError, StoreError, UsageError
from attnbench.plan.given import settings_of
from attnbench.plan.request import Request
from attnbench.plan.sweep import Sweep
from attnbench.record import Record, Task
from attnbench.report import tasks as task_pages
from attnbench.report.environments import describe_all
from attnbench.report.page.markdown import put
from attnbench.report.page.screen import screen
from attnbench.runs import session
from attnbench.runs.job import Settings

RESULTS = Path("results") / "tasks"
_TOLD = (
    "hardware",
    "software torch",
    "software python",
    "flags threads",
    "code attnbench",
    "code commit",
    "code clean",
)
"""What of an environment an accuracy may depend on, or says which code it is of: the rows have all of it."""


def run(
    given: Mapping[str, Any],
    *,
    tasks: Sequence[str],
    out: Path | None,
    fresh: bool,
    retry: bool,
    markdown: Path | None,
    console: Console,
    command: str,
) -> bool:
    """Learn tasks, say what separates whom and write the page; return whether that was interrupted.

    Args:
        given: options of a run by their names, those that are None left out.
        tasks: those to learn, if none is named all whose images are there.
        out: folder with a run for each task.
        fresh: put what the folders hold aside.
        retry: train again those that did not end ok.
        markdown: the page to write.
        console: where it is said.
        command: what was typed.

    Raises:
        UsageError: something cannot be used; nothing was learned then.
        StoreError: a folder or the page cannot be written.
    """
    _refuse_others(tasks)
    settings, folder = settings_of(given), out or RESULTS
    found: dict[str, tuple[Record, ...]] = {}
    for dataset, planned in _plans(given, tasks or _all_that_can_be_learned(console), settings).items():
        place = folder / re.sub(r"[^A-Za-z0-9.-]+", "-", dataset)
        learned = session.measure(
            planned, settings=settings, folder=place, fresh=fresh, retry=retry, console=console, command=command
        )
        if learned.stopped:
            raise StoreError(learned.stopped)
        if learned.interrupted:
            return True
        found[dataset] = learned.records
    parts, pictures = [task_pages.part(*each) for each in found.items()], _drawn(found, folder)
    console.print(screen(task_pages.brief(parts)))
    if markdown is not None:
        machines = describe_all(record.environment for records in found.values() for record in records)
        lines = tuple(f"{name}: {value}" for each in machines.values() for name, value in each if name in _TOLD)
        page = task_pages.page(parts, command=command, environments=lines, pictures=pictures)
        put(page, markdown)
    for path in (*pictures.values(), *filter(None, [markdown])):
        console.print(Text(str(path)), soft_wrap=True)
    return False


def _all_that_can_be_learned(console: Console) -> tuple[str, ...]:
    """Return every task but those whose images are not there, which are named."""
    without = () if places.FASHION_MNIST.is_dir() else tuple(name for name, task in TASKS.items() if task.garments)
    for name in without:
        said = f"{name} is left out: it shows Fashion-MNIST; install Debian's package dataset-fashion-mnist"
        console.print(Text(said), soft_wrap=True)
    return tuple(name for name in TASKS if name not in without)


def _plans(given: Mapping[str, Any], tasks: Sequence[str], settings: Settings) -> dict[str, Sweep]:
    """Return what each task asks of whom: that it is learned, and nothing else."""
    asked = {name: value for name, value in given.items() if value is not None and name != "timeout"}
    plans = {}
    for dataset in tasks:
        planned = session.plan(Request.of(**asked, accuracy=dataset, until="counts", baseline="none"), settings)
        cells = tuple(cell for cell in planned.cells if cell.task is Task.ACCURACY)
        plans[dataset] = replace(planned, cells=cells, baselines={})
    return plans


def _refuse_others(tasks: Sequence[str]) -> None:
    """Refuse what is no task, and what is misspelled, before anything is looked at.

    Raises:
        UsageError: one is.
    """
    mistakes = []
    for dataset in tasks:
        try:
            read(dataset)
        except DataError as error:
            mistakes.append(f"{dataset} is no task: {error}")
    if mistakes:
        raise UsageError(*mistakes)


def _drawn(found: Mapping[str, Sequence[Record]], folder: Path) -> dict[str, Path]:
    """Draw each task, and return the pictures by its name."""
    from attnbench.report import plots  # noqa: PLC0415 - matplotlib
    from attnbench.report.comparison import prepared  # noqa: PLC0415 - pandas
    from attnbench.report.rows import rows  # noqa: PLC0415

    drawn: dict[str, Path] = {}
    for dataset, records in found.items():
        paths = plots.draw(prepared(rows(records)), folder / "plots")
        pictures = [path for path in paths if path.stem.startswith("task") and path.suffix == ".png"]
        drawn |= {dataset.partition(":")[0]: path for path in pictures}
    return drawn
