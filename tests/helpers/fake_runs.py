"""Runs over ``fake_worker``, whose cells do what their mechanism's name says."""

from collections.abc import Sequence
from pathlib import Path

from attnbench.plan.sweep import Sweep
from attnbench.record import Cell, Record, Status
from attnbench.runs import runner
from attnbench.runs.job import SPAWN, Settings

FAKE_WORKER = "fake_worker"


def cells(*names: str, height: int = 224) -> list[Cell]:
    return [Cell(mechanism=name, height=height, width=height) for name in names]


def run(
    folder: Path, asked: Sequence[Cell], *, recorded: Sequence[Record] = (), timeout_s: float = 20, baseline: str = ""
) -> dict[str, Record]:
    sweep = Sweep(cells=tuple(asked), baselines={cell.group: cell.key for cell in asked if cell.mechanism == baseline})
    settings = Settings(timeout_s=timeout_s, isolation=SPAWN)
    found = runner.run(sweep, settings=settings, folder=folder, recorded=recorded, worker_module=FAKE_WORKER)
    return {record.cell.mechanism: record for record in found}


def statuses(records: dict[str, Record]) -> dict[str, Status]:
    return {name: record.status for name, record in records.items()}
