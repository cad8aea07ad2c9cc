"""What the runner hears of a worker, as types: an event of another shape is not the worker's. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from attnbench.record import Status, Value
from attnbench.worker.objection import Objection


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentTaken:
    """Where the worker measures."""

    environment: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEntered:
    """What begins."""

    phase: str
    cell: int | None = None
    """Place in the job; None for all cells together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a phase found out."""

    phase: str
    metrics: Mapping[str, Value]
    cell: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """How much of the phase is done."""

    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTimed:
    """What the timing of a cell found, which is still to be verified."""

    cell: int
    metrics: Mapping[str, Value]
    objections: tuple[Objection, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEnded:
    """How a cell ended."""

    status: Status
    reason: str
    metrics: Mapping[str, Value]
    cell: int
    own: bool = False
    """Whether what was found is certainly its own doing, and not that of what shares its process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetApart:
    """That a cell is to be measured in a process without other plugins."""

    reason: str
    cell: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """What went wrong and costs no cell anything."""

    text: str


WORKER: Final[Mapping[str, type]] = {
    "environment": EnvironmentTaken,
    "phase": PhaseEntered,
    "metrics": Learned,
    "progress": Progressed,
    "timed": CellTimed,
    "done": CellEnded,
    "apart": SetApart,
    "warning": Warned,
}
