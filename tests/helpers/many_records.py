"""Made-up runs on disk of as many rows as a test asks for, as real ones would lie there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from attnbench.record import Cell, Mode, Record, Scope, Status, Value

_SIZES = (64, 96, 128, 192, 224, 320, 384, 512)
_ENVIRONMENT = {
    "environment_id": "e1f0",
    "hardware": "Xeon 8480, 2 cores",
    "torch_version": "2.15.0",
    "cpu": {"model": "Xeon 8480", "usable_cores": 2},
    "software": {"python": "3.11.7", "torch": "2.15.0"},
    "state": {"load_average": 0.9, "taken_at": "2026-01-01T12:00:00+00:00"},
}


def write(folder: Path, count: int, *, mechanisms: int) -> None:
    """Write a run of so many rows: mechanisms at eight resolutions, in as many conditions as it takes.

    Every 50th cell failed, and every 20th was disturbed, each for a reason of its own.
    """
    folder.mkdir(parents=True)
    lines = (record(place, cell).to_json() + "\n" for place, cell in enumerate(cells(count, mechanisms=mechanisms)))
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(lines)


def cells(count: int, *, mechanisms: int) -> Iterator[Cell]:
    """Yield the cells of so many rows."""
    return itertools.islice(_cells(mechanisms), count)


def _cells(mechanisms: int) -> Iterator[Cell]:
    names = ["mhsa", *(f"m{place}" for place in range(1, mechanisms))]
    within = list(itertools.product(("float32", "bfloat16"), Mode, (1, 2, 3, 4), _SIZES, names))
    for batch, (dtype, mode, stage, size, name) in ((b, one) for b in itertools.count(1) for one in within):
        yield Cell(
            scope=Scope.LAYER,
            mechanism=name,
            distribution="attnbench 0.1.0",
            height=size,
            width=size,
            batch=batch,
            dtype=dtype,
            mode=mode,
            stage=stage,
            dim=96,
            heads=3,
            depth=4,
        )


def record(place: int, cell: Cell, *, run_id: str = "20260101T120000Z", kind: str = "") -> Record:
    """Return the row of a cell at a place."""
    failed = place % 50 == 49
    return Record(
        cell=cell,
        status=Status.FAILED if failed else Status.OK,
        reason=f"RuntimeError: no kernel for cell {place}" if failed else "",
        metrics=_counts(cell) if failed else _counts(cell) | _costs(place, cell),
        environment=_ENVIRONMENT,
        run_id=run_id,
        kind=kind,
        started_at="2026-01-01T12:00:00+00:00",
        attnbench_version="0.1.0",
    )


def _counts(cell: Cell) -> dict[str, Value]:
    tokens = cell.height * cell.width // 256
    return {
        "params": 10**6 + 1000 * (hash_of(cell.mechanism) % 97),
        "macs": tokens * 10**5 + tokens**2 * (hash_of(cell.mechanism) % 13),
        "macs_attention": tokens * 10**4,
        "baseline": "mhsa",
        "is_baseline": cell.mechanism == "mhsa",
    }


def _costs(place: int, cell: Cell) -> dict[str, Value]:
    share = 0.5 + hash_of(cell.mechanism) % 101 / 100
    growth = 1 + hash_of(cell.mechanism) % 7 / 7
    base = 1e-3 * cell.batch * (cell.height / 64) ** 3
    latency = base * share * (cell.height / 64) ** growth / (cell.height / 64)
    ratio = latency / base
    width = 0.0 if cell.mechanism == "mhsa" else 0.01
    return {
        "least_bytes": 10**6 * cell.height,
        "memory_peak_bytes": cell.batch * cell.height**2 * (500 + hash_of(cell.mechanism) % 89),
        "latency_median_s": latency,
        "latency_ci_low_s": 0.985 * latency,
        "latency_ci_high_s": 1.018 * latency,
        "latency_samples": 61,
        "latency_stopped_by": "precision",
        "latency_interference": f"{place} involuntary context switches" if place % 20 == 19 else None,
        "throughput_img_per_s": cell.batch / latency,
        "latency_ratio": ratio,
        "latency_ratio_ci_low": ratio * (1 - width),
        "latency_ratio_ci_high": ratio * (1 + width),
    }


def hash_of(name: str) -> int:
    """Return a number of a name that is the same every time."""
    return sum(place * ord(letter) for place, letter in enumerate(name, start=1))
