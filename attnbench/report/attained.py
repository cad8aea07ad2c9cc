"""What calls attained of what the machine could do at most: points and roofs of a roofline, however it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from attnbench.axes import OFF
from attnbench.metrics import METRICS, is_number
from attnbench.record import Mode
from attnbench.roofline import MachineLimits, macs_per_call

_NEEDED = ("macs", "batch", "bytes_lower_bound", "latency_median_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflinePoint:
    """A measured call."""

    intensity: float
    """Multiply-adds per byte that must move."""
    rate: float
    """Multiply-adds per second."""
    low: float
    """Rate at the upper end of the latency's interval; the rate itself without one."""
    high: float
    doubted: bool = False
    """Whether something speaks against its time or its multiply-adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """What bounds the calls of one dtype."""

    dtype: str
    rate: float
    """Multiply-adds per second."""
    bytes_per_s: float
    conditions: str = ""
    """When and beside what it was taken."""

    @property
    def ridge(self) -> float:
        """Intensity from which on computing binds."""
        return self.rate / self.bytes_per_s


def is_placed(row: Mapping[str, Any] | pd.Series[Any]) -> bool:
    """Return whether a call has a place: it was timed, and what it computes and moves is known."""
    return all(is_number(row[name]) and row[name] > 0 for name in _NEEDED)


def attained(row: Mapping[str, Any] | pd.Series[Any]) -> RooflinePoint:
    """Return the place of a row that has one."""
    macs = macs_per_call(row["macs"], batch=row["batch"], mode=Mode(row["mode"]))
    low, high = (row[end] for end in METRICS["latency_median_s"].ends)
    if not (is_number(low) and is_number(high) and 0 < low <= row["latency_median_s"] <= high):
        low = high = row["latency_median_s"]
    return RooflinePoint(
        intensity=macs / row["bytes_lower_bound"],
        rate=macs / row["latency_median_s"],
        low=macs / high,
        high=macs / low,
        doubted=any(bool(row[doubt]) for doubt in METRICS["macs"].doubted_by),
    )


def roof_over(rows: pd.DataFrame, limits: Mapping[str, MachineLimits]) -> Roof | None:
    """Return what bounds rows that share machine and dtype, None where its limits are not known.

    Args:
        rows: prepared.
        limits: of the machines, by ``environment_id``.
    """
    # A cell whose worker never answered does not know where it would have run.
    found = limits.get(next(iter(rows["environment_id"].dropna()), ""))
    if found is None:
        return None
    cast = rows["autocast"] if "autocast" in rows else pd.Series(OFF, index=rows.index)  # rows of others may lack it
    products = cast.where(cast != OFF, rows["dtype"])
    dtype = max((each for each in products if each in found.macs_per_s), key=found.rate, default="")
    if not dtype:
        return None
    return Roof(dtype=dtype, rate=found.rate(dtype), bytes_per_s=found.bytes_per_s, conditions=found.conditions)
