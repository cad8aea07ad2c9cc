"""Records as trends: one figure of one cell on one machine, in the order of the code that was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from attnbench.metrics import METRICS, Compared, compared, is_number
from attnbench.record import Cell, Record, Status

METRICS_OVER_TIME = (*compared(Compared.RATIO), *compared(Compared.EXACT))
"""Figures that have a trend: those whose runs are compared by ratio, and those that are exact."""
_SHORT = 9
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class MeasuredRevision:
    """What was measured at one time: a commit, or a run of which no commit is known."""

    at: datetime
    """When it was committed, or measured where that is not known."""
    name: str
    """The commit, shortened, with a ``+`` where there were changes besides; the run's id where none is known."""
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A figure at one revision."""

    revision: MeasuredRevision
    value: float
    low: float
    high: float
    versions: Mapping[str, str]
    """Of attnbench and of the distribution that the mechanism comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One figure of one cell over time, where its values may be compared."""

    cell: Cell
    """As it was asked last."""
    metric: str
    machine: str
    """Hardware with the id of its environment; of exact figures what they depend on, empty if that is nothing."""
    points: tuple[Measurement, ...]
    """The oldest first."""

    @property
    def is_exact(self) -> bool:
        """Whether its values agree to the last digit where nothing has changed."""
        return METRICS[self.metric].compared is Compared.EXACT


def trends(records: Sequence[Record]) -> tuple[list[Trend], Counter[str]]:
    """Return all trends, in the order of their cells, and how many rows were left out, by the reason.

    What is rejected or suspicious is left out, as is what its own row says a doubt of. A cell is the same whichever
    version of its plugin answers; one whose mechanism gained an option is another.
    """
    found: dict[tuple[str, str, str], list[tuple[Measurement, str, Record]]] = {}
    left_out: Counter[str] = Counter()
    for record in records:
        if record.status is not Status.OK:
            left_out[record.status.value] += 1
            continue
        left_out["suspicious"] += bool(record.metrics.get("suspicious"))
        asked, revision = replace(record.cell, distribution="").key, revision_of(record)
        for metric in METRICS_OVER_TIME:
            measured = _measured(record, metric, revision)
            if measured:
                key = (asked, metric, _place(record, metric))
                found.setdefault(key, []).append((measured, record.started_at, record))
    made = []
    for (_, metric, machine), several in found.items():
        several.sort(key=lambda one: (one[0].revision, one[1]))
        points = tuple(point for point, _, _ in several)
        made.append(Trend(cell=several[-1][2].cell, metric=metric, machine=machine, points=points))
    return made, +left_out


def _measured(record: Record, metric: str, revision: MeasuredRevision) -> Measurement | None:
    told, found = record.metrics, METRICS[metric]
    value = told.get(metric)
    if not is_number(value) or any(told.get(doubt) for doubt in found.doubted_by):
        return None
    low, high = (told.get(end) for end in found.ends) if found.ends else (None, None)
    if found.compared is Compared.RATIO and value <= 0:
        return None
    spans = is_number(low) and is_number(high) and low <= value <= high
    versions = {"attnbench": record.attnbench_version, "plugin": record.cell.distribution}
    return Measurement(
        revision=revision,
        value=value,
        low=float(low) if spans else value,  # type: ignore[arg-type]  # numbers, as spans says
        high=float(high) if spans else value,  # type: ignore[arg-type]
        versions={name: version for name, version in versions.items() if version},
    )


def _place(record: Record, metric: str) -> str:
    """Return where values of a metric may be compared: on one machine, or where what they depend on is the same."""
    found, environment = METRICS[metric], record.environment
    if found.compared is Compared.EXACT:
        return ", ".join(str(_field(environment, name)) for name in found.depends_on)
    hardware = environment.get("hardware") or record.cell.device
    named = f"{hardware} ({environment.get('environment_id', 'environment not recorded')})"
    alike = record.metrics.get(found.alike) if found.alike else None
    return f"{named}, {alike}" if alike else named


def _field(environment: Mapping[str, Any], dotted: str) -> object:
    value: object = environment
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def revision_of(record: Record) -> MeasuredRevision:
    """Return what was measured: the commit that the run was started in, or the run where none is known."""
    code = record.environment.get("code")
    known = code if isinstance(code, Mapping) else {}
    commit, clean = known.get("project_commit"), known.get("project_clean")
    if not commit:
        commit, clean = known.get("commit"), known.get("clean")
    at = _time(known.get("project_committed_at")) or _time(record.started_at) or _FIRST
    if not isinstance(commit, str) or not commit:
        return MeasuredRevision(at=at, name=record.run_id or record.started_at)
    return MeasuredRevision(at=at, name=commit[:_SHORT] + ("+" if clean is False else ""), commit=commit)


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return found and (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
