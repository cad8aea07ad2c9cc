"""What speaks against the figures of a cell, and what becomes of its row. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.record import Status, Value

BESIDE = " beside"
"""What ``verified`` says after the type of an exact copy that a cell was held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One thing that speaks against a cell's figures.

    Example:
        >>> found = Objection(said="0.1 ms is 3 times as fast as the machine's limit allows", sure=True)
        >>> verdict([found], {"macs": 7}, timed={"latency_median_s": 1e-4})
        (<Status.REJECTED: 'rejected'>, "0.1 ms is 3 times as fast as the machine's limit allows", {'macs': 7})
    """

    said: str
    """What was found, with the figures that show it, in a line."""
    sure: bool
    """Whether an honest layer cannot have done it: the row is rejected; else it is suspicious, and not ranked."""
    shown_by: str = ""
    """A command that shows it again; empty where there is none."""

    @property
    def line(self) -> str:
        """What a row says of it."""
        return f"{self.said}; shown by: {self.shown_by}" if self.shown_by else self.said


def verdict(
    objections: Sequence[Objection], found: Mapping[str, Value], *, timed: Mapping[str, Value]
) -> tuple[Status, str, dict[str, Value]]:
    """Return status, reason and metrics of a cell that was timed.

    A rejected cell keeps what was found before the timing, and nothing of the timing: its samples are on disk, and no
    table, plot or ratio can take up a figure that is not there.

    Args:
        objections: what speaks against the figures.
        found: metrics that do not come from the timed calls.
        timed: metrics of the timed calls.
    """
    sure = [each.line for each in objections if each.sure]
    if sure:
        return Status.REJECTED, "; ".join(sure), dict(found)
    suspicions = "; ".join(each.line for each in objections)
    return Status.OK, "", {**found, **timed, **({"suspicious": suspicions} if suspicions else {})}


def is_beside_exact(metrics: Mapping[str, Value]) -> bool:
    """Return whether a row's calls were held against a copy that is exact beside their type.

    Example:
        >>> is_beside_exact({"verified": "5 of 31, float64 beside"}), is_beside_exact({"verified": "5 of 31"})
        (True, False)
    """
    return BESIDE in str(metrics.get("verified") or "")


def unverified(
    objections: Sequence[Objection], reason: str, *, timed: Mapping[str, Value]
) -> tuple[Status, str, dict[str, Value]]:
    """Return status, reason and metrics of a timed cell whose referee has ended before it came to a verdict.

    Args:
        objections: what the worker found to speak against the figures.
        reason: why there is no verdict.
        timed: metrics of the timed calls.
    """
    doubt = Objection(said=f"its timed calls could not be verified: {reason}", sure=False)
    return verdict([*objections, doubt], {"verified": f"none: {reason}"}, timed=timed)
