"""How far the groups of a run are, for whoever starts workers: what is open, and what nobody has in hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnbench.fleet import leases, planned
from attnbench.fleet.planned import PlannedGroup, SweepPlan
from attnbench.fleet.presence import SILENT_S, Liveness, Observer
from attnbench.fleet.row_index import RowIndex
from attnbench.record import Status


@dataclass(slots=True, kw_only=True)
class KindProgress:
    """How far the cells of one kind of hardware are."""

    cells: int = 0
    done: int = 0
    """Cells that were measured, or cannot be."""
    open: int = 0
    """Groups that lack such a row."""
    free: int = 0
    """Of those, groups that no worker has in hand."""


class FleetProgress:
    """Looks at the folder of a run again and again, and only at what is not done yet."""

    def __init__(self, folder: Path, *, silent_s: float = SILENT_S) -> None:
        """Read what is planned.

        Args:
            folder: of the run.
            silent_s: seconds without a word of it after which a worker has lost its group.

        Raises:
            StoreError: what is planned cannot be read.
        """
        plans = planned.read(folder)
        self.folder = folder
        self.groups: Mapping[str, tuple[SweepPlan, PlannedGroup]] = planned.united(plans)
        """All of them by their names, each with its plan."""
        self._rows = RowIndex(folder, {name: kind for plan in plans for name, kind in plan.kinds.items()})
        self._observer = Observer(folder, silent_s=silent_s)
        self._done: set[str] = set()
        self._absent: dict[str, bool] = {}

    def look(self) -> dict[str, KindProgress]:
        """Return how far each kind of hardware is; the empty name is any."""
        self._rows.refresh()
        held = leases.held(self.folder)
        found: dict[str, KindProgress] = {}
        for name, (plan, group) in self.groups.items():
            kind = found.setdefault(group.needs.kind, KindProgress())
            kind.cells += len(group.cells)
            if name in self._done:
                kind.done += len(group.cells)
                continue
            rows = self._rows.of(group, plan.settings)
            measured = sum(row.status is not Status.ABSENT for row in rows)
            kind.done += measured
            if measured == len(group.cells):
                self._done.add(name)
                continue
            self._absent[name] = len(rows) == len(group.cells)
            kind.open += 1
            kind.free += self._is_free(held.get(name), name)
        return found

    def without_rows(self, kind: str) -> dict[str, tuple[SweepPlan, PlannedGroup]]:
        """Return the groups of a kind that lack rows of any sort and that nobody has in hand."""
        self.look()
        held = leases.held(self.folder)
        return {
            name: each
            for name, each in self.groups.items()
            if each[1].needs.kind == kind
            and name not in self._done
            and not self._absent[name]
            and self._is_free(held.get(name), name)
        }

    def _is_free(self, lease: leases.GroupLease | None, name: str) -> bool:
        if lease is None or lease.over:
            return True
        facts = leases.holder(self.folder, lease)
        seen = self._observer.of(facts, facts.name if facts else f"{name}.{lease.number}")
        return seen is Liveness.SILENT
