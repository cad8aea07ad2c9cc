"""The records of a group's cells: what was found, under what conditions, and who answers for what went wrong.

Imports no torch.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnbench import __version__, files, inert
from attnbench.metrics import METRICS
from attnbench.record import Cell, Record, Status, Value
from attnbench.runs.job import Settings, foreign
from attnbench.worker.objection import is_beside_exact

SAMPLES, CHECKPOINTS = "samples", "checkpoints"
"""Folder of the timed calls, in that of a run."""
Circumstances = tuple[str, str, str, bool, str]
"""What decides in how many bits a machine computes, whoever asks it to: device, type, mode, compiled, fused kernel."""
_TEXT = 2000
"""Characters of a reason, or of a metric that is a text, that are kept."""


@dataclass(slots=True, kw_only=True)
class Rows:
    """Makes the records of one group."""

    folder: Path
    run_id: str
    settings: Settings
    limits: Mapping[str, Mapping[str, Any]]
    """The machine's limits by environment id."""
    baseline: str
    """Key of the cell that ratios refer to; empty for none."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    project: Mapping[str, Any] = field(default_factory=dict)
    """The commit that the run was started in, as ``devices.checkout.project`` says it."""
    started_at: str = ""
    kind: str = ""
    """The kind of hardware that the cells are asked for on; empty for any."""
    precise: set[Circumstances] = field(default_factory=set)
    """Where a cell of ours was found as precise as it says; all groups of a run add to it."""
    fallen: str = ""
    """Why nothing is compared with the baseline, once something speaks against it."""

    @property
    def environment_id(self) -> str:
        """Id of the environment of the process at work, empty until it has said it."""
        return str(self.environment.get("environment_id", ""))

    def start(self) -> None:
        """Note that the rows to come were begun now."""
        self.started_at = _now()

    def row(
        self, cell: Cell, status: Status, reason: str, metrics: Mapping[str, Value], *, verified: bool = False
    ) -> Record:
        """Return a cell's record.

        Args:
            cell: whose it is.
            status: how it ended.
            reason: why, if not ok.
            metrics: what was found of it.
            verified: whether a referee has said so, or was to.
        """
        if cell.key == self.baseline and verified:
            self.fallen = _objected(status, metrics)
        elif self.fallen and "latency_ratio" in metrics:
            metrics = _without_ratio(metrics, self.fallen)
        if verified and status is Status.OK and not foreign(cell.distribution) and is_beside_exact(metrics):
            self.precise.add(_circumstances(cell))
        bounded = "latency_bound_s" in metrics or status is Status.OVER_BUDGET
        timed = "latency_median_s" in metrics
        return _record(
            cell,
            status,
            reason,
            metrics=metrics,
            environment=self._environment(),
            settings=asdict(self.settings),
            limits=self.limits.get(self.environment_id, {}) if bounded else {},
            samples_sha256=_digest(samples_of(self.folder, cell)) if timed else "",
            run_id=self.run_id,
            started_at=self.started_at,
            kind=self.kind,
        )

    def are_precise(self, cells: Iterable[Cell]) -> bool:
        """Return whether others were as precise as they say in the circumstances of each of these cells."""
        return all(_circumstances(cell) in self.precise for cell in cells)

    def _environment(self) -> Mapping[str, Any]:
        """Return what the process at work has said, with the project's commit, which it does not know."""
        if not (self.project and self.environment):
            return self.environment
        code = self.environment.get("code")
        return {**self.environment, "code": {**(code if isinstance(code, Mapping) else {}), **self.project}}


def unmeasured(cell: Cell, status: Status, reason: str, *, run_id: str, settings: Settings, kind: str = "") -> Record:
    """Return the record of a cell whose ending is known before any process is started for it."""
    said = attributed(reason, status, cell.distribution)
    return _record(cell, status, said, settings=asdict(settings), run_id=run_id, started_at=_now(), kind=kind)


def new_run_id() -> str:
    """Return what the rows of a run that begins now are known by."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def samples_of(folder: Path, cell: Cell) -> Path:
    """Return the file of a cell's timed calls in the folder of a run."""
    return folder / SAMPLES / f"{cell.key}.npz"


def attributed(reason: str, status: Status, distribution: str) -> str:
    """Name who answers for what went wrong, where that is the plugin."""
    at_fault = status in {Status.FAILED, Status.CRASHED, Status.TIMEOUT, Status.REJECTED} and distribution
    return f"{reason} [{distribution}]" if at_fault else reason


def cut(reason: str) -> str:
    """Return as much of a reason as is kept."""
    return inert.brief(reason, most=_TEXT)


def metrics_cut(metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Return metrics with as much of their texts as is kept."""
    return {name: cut(value) if isinstance(value, str) else value for name, value in metrics.items()}


def _record(cell: Cell, status: Status, reason: str, **what: Any) -> Record:  # noqa: ANN401 - the record's fields
    return Record(cell=cell, status=status, reason=reason, attnbench_version=__version__, **what)


def _circumstances(cell: Cell) -> Circumstances:
    return cell.device, cell.products, cell.mode, cell.compiled, cell.sdpa


def _objected(status: Status, metrics: Mapping[str, Value]) -> str:
    """Return why others are not compared with a baseline, empty if nothing speaks against it."""
    if status is not Status.OK:
        return f"the baseline is {status}"
    return "the baseline is suspicious" if metrics.get("suspicious") else ""


def _without_ratio(metrics: Mapping[str, Value], why: str) -> dict[str, Value]:
    """Return metrics without what compares them with the baseline, and with why."""
    ratio = {"latency_ratio", *METRICS["latency_ratio"].ends}
    return {**{name: value for name, value in metrics.items() if name not in ratio}, "latency_ratio_remark": why}


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, empty if it cannot be read."""
    try:
        return hashlib.sha256(files.bytes_of(path)).hexdigest()
    except files.UnreadableError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
