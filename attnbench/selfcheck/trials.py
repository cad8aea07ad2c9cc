"""What a self-check found, what is demanded of it, and whether it held. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median
from typing import Any

TRUTHS = (1, 2)
"""Ratios that are known beforehand."""
ERROR, ERROR_LOADED = 0.01, 0.02
"""Largest error of a ratio, as a fraction, on a machine that is left alone and beside a process on one core."""
_WITHIN = 0.95
"""Share of the repeats, 19 of 20, in which the error is to stay below that."""
_COVERAGE = (0.90, 0.99)
"""Share of the 95 % intervals that is to hold the truth: with fewer they promise too much, with more too little."""
_ACCOUNTED = (0.90, 1.01)
"""Share of the rounds' time that the samples are to add up to, preparation left out; the rest passes between them.

A ratio alone cannot show that slow samples of both calls were dropped, that both times are wrong by one factor, or that
nobody waited for the device: launching twice takes twice as long as launching once.
"""


class Way(StrEnum):
    """A way to find the ratio of two latencies."""

    INTERLEAVED = "attnbench, interleaved rounds"
    BENCHMARK = "torch.utils.benchmark"
    ONE_AFTER_THE_OTHER = "one after the other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One pair of calls, timed in every way."""

    truth: int
    """The ratio that is true."""
    ratios: Mapping[Way, float]
    low: float
    """Lower end of the engine's 95 % interval."""
    high: float
    seconds: float
    """Time that the engine's rounds took, preparing the caches left out; the other ways had no less."""
    accounted: float
    """Share of that time that the engine's samples add up to."""

    def error(self, way: Way = Way.INTERLEAVED) -> float:
        """Return how far a ratio is from the true one, as a fraction of it."""
        return abs(self.ratios[way] / self.truth - 1)

    @property
    def covered(self) -> bool:
        """Whether the interval held the truth."""
        return self.low <= self.truth <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that is demanded of the harness, and whether it held."""

    demand: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that was found, in the order in which it was."""

    trials: tuple[Trial, ...]
    loaded: bool
    """Whether another process kept a core busy on purpose."""
    device: str
    threads: int
    cache: str
    """What caches held before each call that the engine timed, ``cold`` or ``warm``."""
    description: str
    """What was timed."""
    disturbances: tuple[str, ...]
    """What else went on, the load included."""

    @property
    def tolerance(self) -> float:
        """Largest error of a ratio, as a fraction."""
        return ERROR_LOADED if self.loaded else ERROR

    def of(self, truth: int) -> list[Trial]:
        """Return the trials of one truth."""
        return [trial for trial in self.trials if trial.truth == truth]

    @property
    def bars(self) -> tuple[Bar, ...]:
        """All that is demanded; shares of the repeats are rounded to whole ones in the harness's favour."""
        errors = (_error_bar(truth, self.of(truth), self.tolerance) for truth in TRUTHS)
        return (*errors, _coverage_bar(self.trials), _accounted_bar(self.trials))

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return all(bar.passed for bar in self.bars)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON has it, with what was demanded."""
        verdict = {"tolerance": self.tolerance, "bars": [asdict(bar) for bar in self.bars], "passed": self.passed}
        return {**verdict, **asdict(self)}


def _error_bar(truth: int, trials: Sequence[Trial], tolerance: float) -> Bar:
    within = sum(trial.error() <= tolerance for trial in trials)
    return Bar(
        demand=f"error of a ratio of {truth}: at most {tolerance:.0%} in 19 of 20 repeats",
        found=f"{within} of {len(trials)}",
        passed=within >= math.floor(_WITHIN * len(trials)),
    )


def _coverage_bar(trials: Sequence[Trial]) -> Bar:
    covered, (low, high) = sum(trial.covered for trial in trials), _COVERAGE
    return Bar(
        demand=f"95 % intervals that held the truth: {low:.0%} to {high:.0%}",
        found=f"{covered} of {len(trials)}",
        passed=math.floor(low * len(trials)) <= covered <= math.ceil(high * len(trials)),
    )


def _accounted_bar(trials: Sequence[Trial]) -> Bar:
    share, (low, high) = median(trial.accounted for trial in trials), _ACCOUNTED
    return Bar(
        demand=f"time that the samples add up to: {low:.0%} to {high:.0%} of what passed",
        found=f"{share:.1%}",
        passed=low <= share <= high,
    )
