"""What pytest-benchmark wrote with ``--benchmark-json``, as records. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnbench.errors import StoreError
from attnbench.record import Record, Status, Value, cell_from_dict, metrics_from_dict


def records_from(path: Path) -> list[Record]:
    """Return a record for every benchmark in a file that was made with the fixture ``mechanism_benchmark``.

    Others are left out. Intervals are not in such a file: the median has none.

    Raises:
        StoreError: the file cannot be read, is not pytest-benchmark's, or holds no benchmark of a mechanism.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        benchmarks, started_at = content["benchmarks"], str(content["datetime"])
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; give what --benchmark-json wrote") from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is not what pytest --benchmark-json writes") from None
    ours = [each for each in benchmarks if "attnbench" in each["extra_info"]]
    if not ours:
        raise StoreError(f"{path} holds no benchmark made with mechanism_benchmark")
    return [_record(each, started_at) for each in ours]


def _record(benchmark: Mapping[str, Any], started_at: str) -> Record:
    asked = benchmark["extra_info"]["attnbench"]
    cell = cell_from_dict(asked["cell"])
    per, median_s = cell.depth, float(benchmark["stats"]["median"])
    timed: dict[str, Value] = {
        "latency_median_s": median_s / per,
        "latency_samples": int(benchmark["stats"]["rounds"]),
        "throughput_img_per_s": cell.batch / median_s,
    }
    return Record(
        cell=cell,
        status=Status.OK,
        metrics=metrics_from_dict(asked["metrics"]) | timed,
        environment=asked["environment"],
        run_id=benchmark["fullname"],
        started_at=started_at,
        attnbench_version=asked["version"],
    )
