"""What people read against the records: ``records.csv``, ``crossovers.csv`` and ``report.md``, made again."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attnbench import files
from attnbench.axes import DEFAULTS
from attnbench.child.scratch import scratch
from attnbench.reading import MisreadError
from attnbench.record import FORMAT
from attnbench.report import standings
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import markdown
from attnbench.report.spreadsheet import write_csv
from attnbench.runs.limits import roofs
from attnbench.store import asked
from attnbench.verify.finding import Place, Tally
from attnbench.verify.kept import KeptRun

ROWS, CROSSOVERS, PAGE = "records.csv", "crossovers.csv", "report.md"
_KEYS = {ROWS: ("cell_key", "run_id"), CROSSOVERS: ("conditions", "metric", "first", "second")}
"""What a row of a file is found by; several of one key are counted."""
_MARKS = re.compile(r"\*\*|<sup>.*?</sup>")
_FENCE = "```"

Figures = Mapping[tuple[str, ...], str]
"""What a file says, by its row and column."""


def check(kept: KeptRun, tally: Tally) -> None:
    """Make the files again from the records, in a folder of their own, and set them against those that are kept."""
    names = [name for name in (ROWS, CROSSOVERS, PAGE) if (kept.folder / name).is_file()]
    for name in [name for name in (ROWS, PAGE) if name not in names]:
        tally.skip(name, "it is not there; attnbench report writes it")
    if not names or not kept.records:
        return
    with scratch() as folder:
        _make(kept, Path(folder))
        for name in names:
            read = _of_page if name == PAGE else _of_csv
            try:
                there = read(kept.folder / name)
            except MisreadError as error:
                tally.wrong(Place(file=name), "text", kept=None, found=str(error))
                continue
            _compare(name, there, read(Path(folder) / name), kept, tally)


def _make(kept: KeptRun, folder: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # limits that cannot be read are a finding elsewhere
        limits = roofs(kept.folder)
    findings = Findings.of(kept.records, [kept.folder], limits=limits)
    write_csv(findings.rows, folder / ROWS)
    standings.write_csv(findings.crossovers, folder / CROSSOVERS)
    try:
        wanted = asked.held(kept.folder)
    except MisreadError:  # which is a finding elsewhere
        wanted = asked.NOTHING
    missing = wanted.missing(list(findings.rows["cell_key"]))
    page = document(findings, command="\n".join(wanted.commands), missing=missing, plots=[])
    (folder / PAGE).write_text(markdown(page, folder), encoding="utf-8")


def _compare(name: str, kept: Figures, found: Figures, run: KeptRun, tally: Tally) -> None:
    for (*row, column), value in kept.items():
        place, made = Place(file=name, row=", ".join(filter(None, row))), found.get((*row, column))
        tally.demand(value == made, place, column or "text", kept=value, found=made)
    older, there = any(line.format < FORMAT for line in run.lines), {column for *_, column in kept}
    for (*row, column), value in found.items():
        if (*row, column) in kept or not value:
            continue
        axis_came_later = column not in there and column in DEFAULTS and value == str(DEFAULTS[column])
        if name == ROWS and (older or axis_came_later):
            tally.skip(f"{name}, column {column}", "a version that did not have it wrote the file")
        elif name != PAGE or _is_of_a_table(row, column):
            tally.wrong(Place(file=name, row=", ".join(filter(None, row))), column or "text", kept=None, found=value)


def _of_csv(path: Path) -> dict[tuple[str, ...], str]:
    if not path.is_file():
        return {}
    found: dict[tuple[str, ...], str] = {}
    seen = Counter[tuple[str, ...]]()
    for row in _rows(_text_of(path)):
        key = tuple(row.get(name) or "" for name in _KEYS[path.name])
        seen[key] += 1
        number = (f"number {seen[key]}",) if seen[key] > 1 else ()
        found |= {(*key, *number, column): value or "" for column, value in row.items() if column is not None}
    return found


def _rows(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, up to one that is none."""
    with contextlib.suppress(csv.Error):
        yield from csv.DictReader(io.StringIO(text, newline=""))


def _text_of(path: Path) -> str:
    """Return the text of a file; bytes that are none are figures that do not hold."""
    return files.text_of(path, errors="replace")


def _of_page(path: Path) -> dict[tuple[str, ...], str]:
    """Return the figures of a report: cells of its tables, its list, its notes and its commands.

    Prose, plots and what a column means are no figures of a run.
    """
    found: dict[tuple[str, ...], str] = {}
    seen = Counter[tuple[str, ...]]()
    for key, value in _said(_text_of(path).splitlines()):
        seen[key] += 1
        found[(*key[:-1], f"number {seen[key]}", key[-1]) if seen[key] > 1 else key] = value
    return found


def _said(lines: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    heading, columns, fenced = "", list[str](), False
    for line in lines:
        if line.startswith(_FENCE):
            fenced = not fenced
        elif fenced:
            yield (heading, line, ""), line
        elif line.startswith("#"):
            heading, columns = line.lstrip("# "), []
        elif line.startswith("|"):
            cells = [_MARKS.sub("", cell).strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not columns:
                columns = cells
            elif not set(line) <= set("|:- "):
                yield from (((heading, cells[0], column), cell) for column, cell in zip(columns, cells, strict=False))
        elif match := re.match(r"- (?P<name>[^:]+): (?P<value>.*)", line):
            yield (heading, match["name"], ""), match["value"]
        elif match := re.match(r"\d+\. (?P<text>.*)", line):
            yield (heading, match["text"], ""), match["text"]
        else:
            columns = []


def _is_of_a_table(row: Sequence[str], column: str) -> bool:
    return bool(column) and len(row) > 1
