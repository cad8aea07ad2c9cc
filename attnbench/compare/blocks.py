"""The ratio of two revisions from blocks of rounds, how precise it is, and when that is enough. Never torch.

Rounds of one block have much in common: where tensors came to lie, what else the machine was doing. So a block counts
as one observation, and the interval is that of the blocks' ratios: how far these scatter holds all of it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from attnbench.probes.interval import Estimate, mean_interval, student

POWER = 0.9
"""How often a change of the size that is stated as detectable would be found."""
_NS_PER_S = 1e9
_GROWTH = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """Interleaved rounds of both revisions, as they were built or started once; a sample of each per round."""

    base_ns: Sequence[int]
    head_ns: Sequence[int]

    @property
    def log_ratio(self) -> float:
        """Logarithm of head / base."""
        return math.log(_undisturbed(self.head_ns) / _undisturbed(self.base_ns))


def _undisturbed(samples_ns: Sequence[int]) -> float:
    """Return the lower quartile of some samples: what a call takes that nothing interrupts.

    On a busy machine a call has one of two times, its own or that and a turn or two of others: seen were 1.3 and 9.5
    ms, about half of the calls each. A median, and a ratio within a round, then falls to one side by chance; a quartile
    stays on its side. It is not better everywhere: of calls of 19 ms, medians scattered less.
    """
    return statistics.quantiles(samples_ns, n=4, method="inclusive")[0]


def ratio_of_blocks(blocks: Sequence[TimedBlock]) -> Estimate:
    """Return head / base with its 95 % interval: Student's, on the scale of logarithms.

    Args:
        blocks: at least two.
    """
    found = mean_interval([block.log_ratio for block in blocks])
    return Estimate(value=math.exp(found.value), low=math.exp(found.low), high=math.exp(found.high))


def latencies_s(blocks: Sequence[TimedBlock]) -> tuple[float, float]:
    """Return the latencies of base and head, in seconds, whose quotient is the ratio: geometric means over blocks.

    Medians over all samples would contradict the ratio beside them where the machine has changed its pace.
    """
    each = [[math.log(_undisturbed(ns) / _NS_PER_S) for ns in (one.base_ns, one.head_ns)] for one in blocks]
    base, head = np.exp(np.mean(each, axis=0)).tolist()
    return base, head


def detectable(blocks: Sequence[TimedBlock], *, threshold: float) -> float:
    """Return the smallest slowdown, as a fraction, that such blocks would have shown to be above a threshold.

    Shown means: the whole 95 % interval of the ratio is above 1 + threshold. A slowdown of this size is, POWER of the
    time: as many standard errors above it as make a noncentral t so likely to be above the interval's reach.
    """
    from scipy.special import nctdtrinc  # noqa: PLC0415 - half a second, for few

    logs, freedom = [block.log_ratio for block in blocks], len(blocks) - 1
    error = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    return (1 + threshold) * math.exp(float(nctdtrinc(freedom, 1 - POWER, student(freedom))) * error) - 1


@dataclass(slots=True, kw_only=True)
class Sufficiency:
    """Says when there are blocks enough.

    It goes by how far the blocks scatter and by the time, never by the ratio: who stops where a ratio looks good picks
    the moments at which it happens to.
    """

    precision: float
    """Half-width of the ratio's 95 % interval to reach, as a fraction."""
    budget_s: float
    fewest: int
    """Blocks that are measured whatever they cost."""
    first_look: int
    """Blocks before the precision is looked at: fewer would now and then scatter little by chance."""
    _next_look: int = field(init=False)

    def __post_init__(self) -> None:
        self._next_look = max(self.first_look, self.fewest)

    def reached(self, blocks: Sequence[TimedBlock], *, spent_s: float) -> bool:
        """Return whether to stop.

        Args:
            blocks: all of them so far.
            spent_s: the time since the first began.
        """
        count = len(blocks)
        if count < self.fewest:
            return False
        if spent_s * (count + 1) / count > self.budget_s:
            return True
        if count < self._next_look:
            return False
        self._next_look = math.ceil(_GROWTH * count)
        return ratio_of_blocks(blocks).half_width <= self.precision
