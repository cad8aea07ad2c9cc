"""The rows of cells for which there is no machine: each says so, and gives way to one of a machine that comes later."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from attnbench import files, store
from attnbench.errors import StoreError
from attnbench.fleet import leases
from attnbench.fleet.leases import Leases
from attnbench.fleet.planned import PlannedGroup, SweepPlan
from attnbench.fleet.presence import Presence
from attnbench.record import Status
from attnbench.runs.rows import new_run_id, unmeasured


def write(folder: Path, groups: Mapping[str, tuple[SweepPlan, PlannedGroup]], reason: str) -> int:
    """Write a row for each cell of some groups that no machine is there for, and return how many.

    Args:
        folder: of the run.
        groups: by their names, each with its plan.
        reason: what the engine says of it.

    Raises:
        StoreError: the folder cannot be written.
    """
    written = 0
    try:
        with contextlib.ExitStack() as held:
            presence = Presence(folder)
            held.callback(presence.end, "done")
            kept = held.enter_context(store.Store(presence.folder))
            taken, ours, run_id = leases.held(folder), Leases(folder, presence.folder / "worker.json"), new_run_id()
            for name, (plan, group) in groups.items():
                number = taken[name].number + 1 if name in taken else 1
                if not ours.take(name, number):
                    continue
                for cell in group.cells:
                    kind, settings = group.needs.kind, plan.settings
                    kept.append(unmeasured(cell, Status.ABSENT, reason, run_id=run_id, settings=settings, kind=kind))
                    written += 1
                ours.let_go(name, number)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {files.reason_of(error)}") from None
    return written
