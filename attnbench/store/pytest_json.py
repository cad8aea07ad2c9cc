"""What pytest-benchmark wrote with ``--benchmark-json``, as records. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from attnbench import files
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
    status: Status = Status.OK
    reason: str = ""
    """Why its figures are none, in benchmarks whose test has failed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stats:
    """What is read of a benchmark's statistics."""

    median: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Benchmark:
    """What is read of one benchmark."""

    fullname: str
    stats: _Stats
    noted: _Noted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What is read of a file."""

    datetime: str
    benchmarks: tuple[dict[str, Any], ...]
    commit_info: dict[str, Any] = field(default_factory=dict)

    @property
    def project(self) -> dict[str, Any]:
        """The commit, in the words of a run's own rows; empty where the file knows none."""
        commit, time, dirty = (self.commit_info.get(name) for name in ("id", "time", "dirty"))
        if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{7,64}", commit):
            return {}
        committed_at = time if isinstance(time, str) else ""
        return {"project_commit": commit, "project_committed_at": committed_at, "project_clean": dirty is False}


def records_from(path: Path) -> list[Record]:
    """Return a record for every benchmark in a file that was made with the fixture ``mechanism_benchmark``.

    Others are left out. Intervals are not in such a file: the median has none.

    Raises:
        StoreError: the file cannot be read, is not pytest-benchmark's, or holds no benchmark of a mechanism.
    """
    try:
        content = structured(_of(files.json_of(path, dict[str, Any]), _Content), _Content)
    except MisreadError as error:
        raise StoreError(f"{path} is not what pytest --benchmark-json writes: {error}") from None
    try:
        ours = [each for each in content.benchmarks if "attnbench" in (each.get("extra_info") or ())]
        found = [structured(_picked(each), _Benchmark) for each in ours]
        records = [_record(each, content) for each in found]
    except MisreadError as error:
        raise StoreError(f"{path} is not what mechanism_benchmark writes: {error}") from None
    if not records:
        raise StoreError(f"{path} holds no benchmark made with mechanism_benchmark")
    return records


def _of(content: object, kind: type) -> object:
    """Return what is used of the many things that pytest-benchmark writes."""
    names = {each.name for each in fields(kind)}
    return {name: content[name] for name in names & content.keys()} if isinstance(content, dict) else content


def _picked(benchmark: Mapping[str, Any]) -> dict[str, Any]:
    info = benchmark["extra_info"]
    noted = info["attnbench"] if isinstance(info, dict) else info
    return {name: benchmark[name] for name in ("fullname",) if name in benchmark} | {
        "stats": _of(benchmark.get("stats"), _Stats),
        "noted": noted,
    }


def _record(benchmark: _Benchmark, content: _Content) -> Record:
    noted = benchmark.noted
    if not (benchmark.stats.median > 0 and noted.cell.depth > 0):
        said = f"a median of {benchmark.stats.median} s over {noted.cell.depth} layers; both are to be above 0"
        raise MisreadError([f"{benchmark.fullname}: {said}"])
    timed: dict[str, Value] = {
        "latency_median_s": benchmark.stats.median / noted.cell.depth,
        "latency_samples": benchmark.stats.rounds,
        "throughput_img_per_s": noted.cell.batch * noted.cell.depth / benchmark.stats.median,
    }
    return Record(
        cell=noted.cell,
        status=noted.status,
        reason=noted.reason,
        metrics=metrics_from_dict(noted.metrics) | (timed if noted.status is Status.OK else {}),
        environment=_of_project(noted.environment, content.project),
        run_id=benchmark.fullname,
        started_at=content.datetime,
        attnbench_version=noted.version,
    )


def _of_project(environment: Mapping[str, Any], project: Mapping[str, Any]) -> Mapping[str, Any]:
    code = environment.get("code")
    return (
        {**environment, "code": {**(code if isinstance(code, Mapping) else {}), **project}} if project else environment
    )
