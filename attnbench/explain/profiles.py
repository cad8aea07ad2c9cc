"""What a profile of a cell's calls says; the child writes it, the parent reads it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

MOST_OPERATORS = 400
"""Operators of one profile that are told apart, the heaviest; the others are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """An operator of the host, or a kernel of an accelerator, over a call."""

    name: str
    self_s: float
    """Seconds of a call that it takes itself, without what it calls."""
    launches: float
    """How often it runs in a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProfile:
    """Where the time of a call goes."""

    operators: tuple[OperatorTime, ...]
    """The heaviest first."""
    rest_s: float
    """What is left of a call: on a processor Python between operators, or what another runtime does between them; on an
    accelerator waiting for the host."""
    plain_s: float
    """A call without the profiler, the median of a few, by the clock that the rows have."""
    profiled_s: float
    """A call under the profiler, the mean of a few, by the host's clock."""
    attention_s: float | None = None
    """Seconds of a call inside the layers of the mechanism; None where that is not known."""
    on_device: bool = False
    """Whether operators are kernels of an accelerator rather than operators of the host."""
    by_runtime: bool = False
    """Whether a runtime other than torch tells, whose operators have names of their own."""
    calls: int
    """How many calls were profiled."""

    @property
    def total_s(self) -> float:
        """All that is shared out: operators and the rest."""
        return sum(each.self_s for each in self.operators) + self.rest_s

    @property
    def launches(self) -> float:
        """How many operators or kernels run in a call."""
        return sum(each.launches for each in self.operators)
