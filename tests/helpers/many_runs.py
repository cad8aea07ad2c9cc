"""A made-up history on disk: a run a commit, of as many cells and commits as a test asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from attnbench.record import Cell, Record, Status

SCATTER = 0.02
"""Of a run's medians about their level, which is more than the runs' own intervals say."""
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
MACHINES = {"fast": "e1f0", "slow": "0a7c"}


def commit(place: int) -> str:
    return hashlib.sha1(str(place).encode()).hexdigest()


def cells(count: int) -> list[Cell]:
    return [
        Cell(mechanism=f"m{place % 10}", height=64 * (1 + place // 10), width=64 * (1 + place // 10))
        for place in range(count)
    ]


def record(cell: Cell, place: int, machine: str, *, latency: float, memory: int = 2**20, macs: int = 10**6) -> Record:
    at = (START + timedelta(hours=place)).isoformat()
    return Record(
        cell=cell,
        status=Status.OK,
        metrics={
            "latency_median_s": latency,
            "latency_ci_low_s": 0.99 * latency,
            "latency_ci_high_s": 1.01 * latency,
            "memory_peak_bytes": memory,
            "macs": macs,
        },
        environment={
            "environment_id": MACHINES[machine],
            "hardware": machine,
            "torch_version": "2.15.0",
            "code": {"project_commit": commit(place), "project_committed_at": at, "project_clean": True},
        },
        run_id=f"run-{place}",
        started_at="2026-06-01T12:00:00+00:00",
        attnbench_version="0.1.0",
    )


def records(
    count: int,
    runs: int,
    *,
    slower: Mapping[tuple[int, int], float] | None = None,
    macs: Mapping[tuple[int, int], int] | None = None,
) -> dict[int, list[Record]]:
    """Return by commit the rows of so many cells.

    The machines take turns of a third of the commits each; on the slow one all takes half as long again.

    Args:
        count: cells.
        runs: commits.
        slower: by cell and commit, the factor of the latency from then on.
        macs: by cell and commit, the multiply-adds from then on.
    """
    random = np.random.default_rng(7)
    made: dict[int, list[Record]] = {}
    for place in range(runs):
        machine = "slow" if runs // 3 <= place < runs // 3 + runs // 6 else "fast"
        rows = []
        for number, cell in enumerate(cells(count)):
            factor = np.prod([by for (own, at), by in (slower or {}).items() if own == number and place >= at])
            counted = [own for (which, at), own in (macs or {}).items() if which == number and place >= at]
            level = 1e-3 * (number + 1) * factor * (1.5 if machine == "slow" else 1.0)
            latency = float(level * np.exp(SCATTER * random.standard_normal()))
            rows.append(record(cell, place, machine, latency=latency, macs=counted[-1] if counted else 10**6))
        made[place] = rows
    return made


def write(folder: Path, made: Mapping[int, list[Record]]) -> None:
    """Write a run a commit, in an order that says nothing."""
    for place, rows in made.items():
        own = folder / f"{(place * 37) % 1000:03d}-{commit(place)[:7]}"
        own.mkdir(parents=True)
        (own / "records.jsonl").write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")


def doubted(row: Record) -> Record:
    """Return a row that says ten times what it should, and a doubt of it."""
    latency = 10 * float(row.metrics["latency_median_s"] or 0)
    return replace(row, metrics={**row.metrics, "latency_median_s": latency, "suspicious": "it was too slow"})
