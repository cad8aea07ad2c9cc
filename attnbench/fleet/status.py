"""How far a run is that many machines work on, from its folder alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.fleet import leases, planned, presence
from attnbench.fleet.leases import GroupLease
from attnbench.fleet.planned import PlannedGroup, SweepPlan
from attnbench.fleet.row_index import RowIndex
from attnbench.plan.described import place
from attnbench.record import Cell, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class KindStatus:
    """How far the cells are that are asked for on a kind of hardware."""

    kind: str
    """Empty for any."""
    cells: int
    done: int
    """Cells with a row, however they ended."""
    groups: int
    groups_done: int
    groups_taken: int
    """Groups without all rows that a worker has taken and not let go."""
    seconds_left: float
    """Expected, on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """What a worker last said of itself."""

    name: str
    kind: str
    group: str
    at_work_on: str
    """The cells of that group, in a few words; empty for none."""
    last_heard_at: str
    """ISO 8601, UTC, by its own clock."""
    ended: str
    """Why it has ended; empty if it has not said so."""
    gone: bool
    """Whether it is known to have ended without a word: a process of this machine."""
    lost_to: str = ""
    """The worker that has taken its group over, to which it had been silent; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """How far a run is."""

    kinds: tuple[KindStatus, ...]
    failed: Mapping[str, int]
    """Cells that did not end ok, by status and reason."""
    workers: tuple[WorkerStatus, ...]

    @property
    def at_work(self) -> int:
        """How many workers have not ended, as far as is known from here."""
        return sum(not (worker.ended or worker.gone or worker.lost_to) for worker in self.workers)

    @property
    def done(self) -> bool:
        """Whether every cell has its row."""
        return all(kind.done == kind.cells for kind in self.kinds)


def take(folder: Path) -> FleetStatus:
    """Return how far a run is.

    Raises:
        UsageError: nothing is planned in the folder.
        StoreError: it cannot be read.
    """
    plans = planned.read(folder)
    if not plans:
        raise UsageError(f"nothing is planned in {folder}; attnbench plan ... --out {folder} does that")
    rows = RowIndex(folder, {name: kind for plan in plans for name, kind in plan.kinds.items()})
    rows.refresh()
    held = leases.held(folder)
    by_kind: dict[str, Counter[str]] = {}
    seconds: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    groups = planned.united(plans)
    for name, (plan, group) in groups.items():
        kind = group.needs.kind
        there = [*rows.known(group.cells, kind, plan.settings)]
        count = by_kind.setdefault(kind, Counter())
        whole, lease = len(there) == len(group.cells), held.get(name)
        count.update(cells=len(group.cells), done=len(there), groups=1, groups_done=whole)
        count.update(groups_taken=not whole and lease is not None and not lease.over)
        seconds[kind] += int(group.needs.seconds * (1 - len(there) / len(group.cells)))
        failed.update(f"{row.status}: {row.reason}" for row in there if row.status != Status.OK)
    kinds = tuple(
        KindStatus(kind=kind, seconds_left=float(seconds[kind]), **{name: count[name] for name in _COUNTS})
        for kind, count in by_kind.items()
    )
    workers = tuple(_worker(folder, facts, groups, held) for facts in presence.workers(folder))
    return FleetStatus(kinds=kinds, failed=dict(failed.most_common()), workers=workers)


_MOST_NAMES = 4
_COUNTS = ("cells", "done", "groups", "groups_done", "groups_taken")


def _worker(
    folder: Path,
    facts: presence.WorkerFacts,
    groups: Mapping[str, tuple[SweepPlan, PlannedGroup]],
    held: Mapping[str, GroupLease],
) -> WorkerStatus:
    said = presence.beat_of(folder, facts.name)
    beat = (said and said[1]) or presence.Beat(count=0, at=facts.started_at)
    lease = held.get(beat.group)
    holder = leases.holder(folder, lease) if lease else None
    return WorkerStatus(
        name=facts.name,
        kind=facts.kind,
        group=beat.group,
        at_work_on=_words(groups[beat.group][1].cells) if beat.group in groups else "",
        last_heard_at=beat.at,
        ended=beat.ended,
        gone=not beat.ended and facts.gone,
        lost_to=holder.name if holder and holder.name != facts.name else "",
    )


def _words(cells: Sequence[Cell]) -> str:
    """Return cells that are measured together in a few words."""
    names = [*dict.fromkeys(cell.name for cell in cells)]
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return f"{', '.join([*names[:_MOST_NAMES], *more])} at {place(cells[0])}"
