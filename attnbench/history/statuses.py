"""Cells that start to fail, run again, or are no longer measured: between which revisions, on which hardware."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from attnbench.compare.verdict import Outcome
from attnbench.history.trends import MeasuredRevision, revision_of
from attnbench.record import Cell, Record, Status

GONE = "no row"
"""What stands in a status's place where a later run of the same cells has no row of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAt:
    """How a cell ended at one revision."""

    revision: MeasuredRevision
    status: Status
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """A cell that ended ok and no longer does, or that did not and does."""

    cell: Cell
    """As it was asked last."""
    machine: str
    """Its hardware, or the kind of device where that is not known."""
    last_before: StatusAt
    first_after: StatusAt | None
    """None if it has no row."""
    since: MeasuredRevision
    """The first one after it."""

    @property
    def outcome(self) -> Outcome:
        """What it is for whoever looks at outcomes."""
        if self.first_after is None:
            return Outcome.NOT_COMPARED
        return Outcome.BETTER if self.first_after.status is Status.OK else Outcome.WORSE

    @property
    def now(self) -> str:
        """The status after it."""
        return GONE if self.first_after is None else self.first_after.status.value

    @property
    def reason(self) -> str:
        """Why it failed, before or after; empty where it was not said."""
        ends = (self.last_before, self.first_after)
        return next((end.reason for end in ends if end is not None and end.status is not Status.OK), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStatuses:
    """How one cell ended over time on one kind of hardware."""

    cell: Cell
    """As it was asked last."""
    machine: str
    ends: tuple[StatusAt, ...]
    """A revision each, the oldest first."""


def statuses(records: Sequence[Record]) -> list[CellStatuses]:
    """Return how cells ended, over time.

    A row whose worker never said where it ran has the hardware of its run, if that had only one. What a limit kept
    from being timed says nothing of the cell, and takes no part.
    """
    of_run = _hardware_of_runs(records)
    found: dict[tuple[str, str], dict[MeasuredRevision, Record]] = {}
    for record in sorted(records, key=lambda one: one.started_at):
        if record.status is not Status.OVER_BUDGET:
            here = _hardware(record) or of_run.get((record.run_id, record.cell.device)) or record.cell.device
            asked = replace(record.cell, distribution="").key
            found.setdefault((asked, here), {})[revision_of(record)] = record
    return [
        CellStatuses(
            cell=ends[max(ends)].cell,
            machine=here,
            ends=tuple(StatusAt(revision=at, status=ends[at].status, reason=ends[at].reason) for at in sorted(ends)),
        )
        for (_, here), ends in found.items()
    ]


def status_changes(found: Sequence[CellStatuses]) -> Iterator[StatusChange]:
    """Yield every change, from one revision that has a row of a cell to the next.

    A cell is gone if it ended ok when it was last measured, and a later run on that hardware has rows of at least half
    of what was measured beside it and none of it: runs of other sweeps in the same history say nothing.
    """
    measured = _measured(found)
    for each in found:
        change = partial(StatusChange, cell=each.cell, machine=each.machine)
        for before, after in zip(each.ends, each.ends[1:], strict=False):
            if (before.status is Status.OK) is not (after.status is Status.OK):
                yield change(last_before=before, first_after=after, since=after.revision)
        last = each.ends[-1]
        missing = _missing_since(last.revision, measured[each.machine]) if last.status is Status.OK else None
        if missing:
            yield change(last_before=last, first_after=None, since=missing)


def _measured(found: Sequence[CellStatuses]) -> dict[str, dict[MeasuredRevision, set[str]]]:
    """Return the cells that each revision has rows of, by hardware, the oldest revision first."""
    by_machine: dict[str, dict[MeasuredRevision, set[str]]] = {}
    for each in found:
        cells = by_machine.setdefault(each.machine, {})
        for end in each.ends:
            cells.setdefault(end.revision, set()).add(each.cell.key)
    return {machine: dict(sorted(cells.items())) for machine, cells in by_machine.items()}


def _missing_since(last: MeasuredRevision, measured: Mapping[MeasuredRevision, set[str]]) -> MeasuredRevision | None:
    beside = measured[last]
    later = (at for at, cells in measured.items() if at > last and 2 * len(cells & beside) >= len(beside))
    return next(later, None)


def _hardware(record: Record) -> str:
    return str(record.environment.get("hardware") or "")


def _hardware_of_runs(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    there: dict[tuple[str, str], set[str]] = {}
    for record in records:
        there.setdefault((record.run_id, record.cell.device), set()).update(filter(None, [_hardware(record)]))
    return {run: next(iter(names)) for run, names in there.items() if len(names) == 1}
