"""Runs the cells of a sweep: a worker per group of comparable cells, a deadline per phase, a record per cell.

The runner imports no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status, Task
from attnbench.roofline import MachineLimits
from attnbench.runs.beside import is_independent
from attnbench.runs.group import Group
from attnbench.runs.job import Assignment, Settings
from attnbench.runs.open_cells import OpenCells
from attnbench.runs.outcomes import Outcomes
from attnbench.runs.progress import Progress, Watcher
from attnbench.runs.rows import Circumstances, Rows, new_run_id, unmeasured
from attnbench.runs.sharing import dealt, run_groups, sharing
from attnbench.store.unfinished import Begun


def run(
    sweep: Sweep,
    *,
    settings: Settings,
    folder: Path,
    recorded: Sequence[Record] = (),
    known: Mapping[str, Begun] | None = None,
    limits: Mapping[str, MachineLimits] | None = None,
    project: Mapping[str, Any] | None = None,
    watcher: Watcher = lambda _: None,
    before_timing: Callable[[], object] = lambda: None,
    worker_module: str = "attnbench.worker.main",
    run_id: str = "",
    kind: str = "",
) -> Iterator[Record]:
    """Yield a record for every cell that has none yet, as it ends.

    Args:
        sweep: cells and their baselines.
        settings: how to measure.
        folder: where the run is kept; raw samples and logs go below it.
        recorded: what is there already; those cells are skipped.
        known: what an interrupted run found of cells without a row, by their key.
        limits: the machine's limits by environment id, for the rows' lower bounds.
        project: the commit that it was started in, for the rows.
        watcher: called when a cell enters a phase.
        before_timing: called before each group that is timed.
        worker_module: module that does the work.
        run_id: what the rows are known by; a new one by default.
        kind: of hardware that the cells are asked for on; empty for any.
    """
    run_id = run_id or new_run_id()
    done = {record.cell.key: record for record in recorded}
    precise: set[Circumstances] = set()
    limits_by_id = {key: found.to_dict() for key, found in (limits or {}).items()}

    def group(todo: Sequence[Cell], *, companions: Sequence[Cell] = (), baseline: str = "") -> Group:
        open_cells = [_taken_up(cell, (known or {}).get(cell.key)) for cell in todo]
        beside = [Assignment(cell=cell, companion=True) for cell in companions]
        rows = Rows(
            folder=folder,
            run_id=run_id,
            settings=settings,
            limits=limits_by_id,
            baseline=baseline,
            project=project or {},
            kind=kind,
            precise=precise,
        )
        outcomes = Outcomes(
            open=OpenCells(assignments=[*open_cells, *beside]),
            rows=rows,
            timed_baseline=[each for each in beside if not each.foreign],
        )
        return Group(outcomes=outcomes, worker_module=worker_module)

    for cells in sharing(sweep.cells):
        todo = [cell for cell in cells if cell.key not in done]
        for cell in todo:
            if cell.key in sweep.endings:
                yield unmeasured(cell, *sweep.endings[cell.key], run_id=run_id, settings=settings, kind=kind)
        todo = [cell for cell in todo if cell.key not in sweep.endings]
        if not todo:
            continue
        if is_independent(cells[0]):
            works = [group(part) for part in dealt(todo)]
        else:
            if cells[0].task is Task.COST:
                before_timing()
            baseline = sweep.baselines.get(cells[0].group, "")
            kept = [cell for cell in cells if cell.key == baseline and cell.key in done]
            again = [cell for cell in kept if done[cell.key].status is Status.OK]
            works = [group(todo, companions=again, baseline=baseline)]
        with contextlib.closing(run_groups(works)) as happens:
            for each in happens:
                if isinstance(each, Progress):
                    watcher(each)
                else:
                    yield each


def _taken_up(cell: Cell, found: Begun | None) -> Assignment:
    """Return what is to be done about a cell of which an interrupted run has found something, or nothing."""
    if found is None:
        return Assignment(cell=cell)
    return Assignment(cell=cell, known=found.metrics, phases_done=found.phases, known_in=found.environment_id)
