"""What a row says of the time of a call, to stand beside a profile of it."""

from __future__ import annotations

from attnbench.explain.asking import Explained
from attnbench.record import Scope


def latency_s(one: Explained) -> float | None:
    """Return how long a call took in the run: a row of a layer has that of the mean layer of its stack."""
    latency = one.record.metrics.get("latency_median_s")
    layers = one.record.cell.depth if one.record.cell.scope is Scope.LAYER else 1
    return float(latency) * layers if isinstance(latency, int | float) else None
