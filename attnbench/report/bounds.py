"""What rows are bounded by in a report: the machine's limits as its roofline is drawn.

A row is bounded when it is written, by the limits from before the run. A machine that was busy then looks slower than
it is, and shares of its limits come out too high; those from after the run may be higher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from attnbench import roofline
from attnbench.record import Record
from attnbench.roofline import MachineLimits


def at_roofs(records: Sequence[Record], limits: Mapping[str, MachineLimits]) -> list[Record]:
    """Return records with bound, limit that binds and share of it by the highest that is known of their machines.

    Args:
        records: rows; those without a bound, or of a machine that is not among the limits, stay as they are.
        limits: of the machines, by ``environment_id``.
    """
    return [_at_roof(each, limits.get(str(each.environment.get("environment_id")))) for each in records]


def _at_roof(record: Record, limits: MachineLimits | None) -> Record:
    if limits is None or "latency_bound_s" not in record.metrics:
        return record
    try:
        bounded = roofline.of_row(record, limits)
    except (KeyError, TypeError, ZeroDivisionError):  # a row of strangers, or limits without its type
        return record
    return replace(record, metrics={**record.metrics, **bounded})
