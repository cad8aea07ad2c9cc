"""What is planned in a folder and has no row yet: a cell on a kind of hardware each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attnbench.fleet import planned
from attnbench.fleet.row_index import RowIndex
from attnbench.plan.described import described
from attnbench.record import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUnits:
    """What is to have a row, by the plans of a folder."""

    there: frozenset[Unit]
    """What has its row."""
    lacking: dict[Unit, str]
    """What has none, in words."""

    @property
    def cells(self) -> frozenset[str]:
        """The keys of all of them."""
        return frozenset(key for key, _ in (*self.there, *self.lacking))


NOTHING = PlannedUnits(there=frozenset(), lacking={})


def units(folder: Path) -> PlannedUnits:
    """Return what a folder is planned to have; nothing where nothing is planned.

    Raises:
        StoreError: a plan cannot be read.
    """
    plans = planned.read(folder)
    rows = RowIndex(folder, {name: kind for plan in plans for name, kind in plan.kinds.items()})
    rows.refresh()
    there, lacking = set[Unit](), dict[Unit, str]()
    for plan, group in planned.united(plans).values():
        kind = group.needs.kind
        done = rows.keys(group, plan.settings)
        words = described(group.cells) if len(done) < len(group.cells) else {}
        there.update((key, kind) for key in done)
        lacking |= {
            (key, kind): f"{said} on {kind}" if kind else said for key, said in words.items() if key not in done
        }
    return PlannedUnits(there=frozenset(there), lacking=lacking)
