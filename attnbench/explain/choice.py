"""Which rows of a run are explained: those that are named, or all of the first comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.record import Record, Status, Task
from attnbench.runs import reporting

MOST = 6
"""Cells side by side."""
_SHORTEST_KEY = 4
_MOST_NAMED = 40
_NOT_RUN = (Task.COUNTS, Task.ACCURACY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRows:
    """The rows that are explained."""

    records: tuple[Record, ...]
    left_out: str = ""
    """What of the comparison is not, and why; empty if all of it is."""


def choose(folder: Path, asked: Sequence[str]) -> ChosenRows:
    """Return the rows of a run that were asked for, or the ok ones of its first resolution and conditions.

    Args:
        folder: of the run.
        asked: labels of mechanisms, or beginnings of cells' keys.

    Raises:
        StoreError: the run cannot be read.
        UsageError: there are none, or not those, or one cannot be profiled.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the folder of a run")
    records = [record for record in reporting.read(folder) if record.cell.task is not Task.ACCURACY]
    if not records:
        raise UsageError(f"{folder} has no rows of costs; attnbench run --out {folder} makes some")
    return _named(records, asked) if asked else _first(records)


def _first(records: Sequence[Record]) -> ChosenRows:
    fit = [record for record in records if not _why_not(record)]
    if not fit:
        raise UsageError(*dict.fromkeys(f"{record.cell.label}: {_why_not(record)}" for record in records[:MOST]))
    group = [record for record in records if record.cell.group == fit[0].cell.group]
    chosen = [record for record in group if not _why_not(record)]
    said = [f"{record.cell.label} ({_why_not(record)})" for record in group if _why_not(record)]
    said += [f"{record.cell.label} (name up to {MOST} to see others)" for record in chosen[MOST:]]
    return ChosenRows(records=tuple(chosen[:MOST]), left_out=", ".join(said))


def _named(records: Sequence[Record], asked: Sequence[str]) -> ChosenRows:
    by_name = {text: _matching(records, text) for text in dict.fromkeys(asked)}
    known = [*dict.fromkeys(record.cell.label for record in records)]
    some = "; ".join(known[:_MOST_NAMED]) + (
        f"; and {len(known) - _MOST_NAMED} others" if len(known) > _MOST_NAMED else ""
    )
    missing = [f"no cell {text!r} in the run, which has: {some}" for text, found in by_name.items() if not found]
    if missing:
        raise UsageError(*missing)
    groups = [{record.cell.group for record in found} for found in by_name.values()]
    shared = set.intersection(*groups)
    chosen: dict[str, Record] = {}
    for found in by_name.values():
        together = [record for record in found if record.cell.group in shared] or found
        chosen |= {each.cell.key: each for each in together if each.cell.group == together[0].cell.group}
    wrong = [f"{record.cell.label}: {_why_not(record)}" for record in chosen.values() if _why_not(record)]
    if len(chosen) > MOST:
        wrong.append(f"{len(chosen)} cells are too many to see side by side; name {MOST} at most")
    if wrong:
        raise UsageError(*wrong)
    return ChosenRows(records=tuple(chosen.values()))


def _matching(records: Sequence[Record], text: str) -> list[Record]:
    """Return the rows of a label, else of a name, else of a beginning of a key."""
    for fits in (
        lambda cell: cell.label == text,
        lambda cell: text in {cell.name, cell.alias},
        lambda cell: len(text) >= _SHORTEST_KEY and cell.key.startswith(text),
    ):
        found = [record for record in records if fits(record.cell)]
        if found:
            return found
    return []


def _why_not(record: Record) -> str:
    """Return why a row cannot be profiled; empty if it can."""
    cell = record.cell
    if record.status is not Status.OK:
        return (
            f"it ended {record.status.value}, {record.reason}" if record.reason else f"it ended {record.status.value}"
        )
    if cell.task in _NOT_RUN:
        return "it was counted and never run, so that there is nothing to profile"
    return ""
