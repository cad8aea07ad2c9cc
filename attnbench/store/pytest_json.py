"""What pytest-benchmark wrote with ``--benchmark-json``, as records. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.errors import StoreError
from attnbench.reading import MisreadError, structured
from attnbench.record import Cell, Record, Status, Value, metrics_from_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """What the fixture adds to a benchmark."""

    version: str
    cell: Cell
    metrics: Mapping[str, Value]
    environment: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Benchmark:
    """What is read of one benchmark."""

    fullname: str
    median: float
    rounds: int
    noted: _Noted


def records_from(path: Path) -> list[Record]:
    """Return a record for every benchmark in a file that was made with the fixture ``mechanism_benchmark``.

    Others are left out. Intervals are not in such a file: the median has none.

    Raises:
        StoreError: the file cannot be read, is not pytest-benchmark's, or holds no benchmark of a mechanism.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ours = [_picked(each) for each in content["benchmarks"] if "attnbench" in each["extra_info"]]
        found = [structured(each, _Benchmark) for each in ours]
        started_at = str(content["datetime"])
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; give what --benchmark-json wrote") from None
    except MisreadError as error:
        raise StoreError(f"{path} is not what mechanism_benchmark writes: {error}") from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is not what pytest --benchmark-json writes") from None
    if not found:
        raise StoreError(f"{path} holds no benchmark made with mechanism_benchmark")
    return [_record(each, started_at) for each in found]


def _picked(benchmark: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is used of the many things that pytest-benchmark writes."""
    stats = {name: benchmark["stats"][name] for name in ("median", "rounds")}
    return {"fullname": benchmark["fullname"], "noted": benchmark["extra_info"]["attnbench"], **stats}


def _record(benchmark: _Benchmark, started_at: str) -> Record:
    noted = benchmark.noted
    timed: dict[str, Value] = {
        "latency_median_s": benchmark.median / noted.cell.depth,
        "latency_samples": benchmark.rounds,
        "throughput_img_per_s": noted.cell.batch * noted.cell.depth / benchmark.median,
    }
    return Record(
        cell=noted.cell,
        status=Status.OK,
        metrics=metrics_from_dict(noted.metrics) | timed,
        environment=noted.environment,
        run_id=benchmark.fullname,
        started_at=started_at,
        attnbench_version=noted.version,
    )
