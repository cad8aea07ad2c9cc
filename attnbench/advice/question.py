"""What is asked: a resolution, limits, what the best is the best by, and what an hour of a machine costs."""

from __future__ import annotations

from dataclasses import dataclass

from attnbench.metrics import METRICS, Better, format_value
from attnbench.report.comparison import resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most of a metric, or the least of one that is better high.

    Example:
        >>> Limit(metric="latency_median_s", value=0.5).words
        'latency at most 500 ms'
    """

    metric: str
    value: float

    @property
    def is_most(self) -> bool:
        """Whether values up to it keep it."""
        return METRICS[self.metric].better is Better.LOWER

    @property
    def words(self) -> str:
        """The limit in a few words."""
        which = "at most" if self.is_most else "at least"
        return f"{name_of(self.metric)} {which} {format_value(self.metric, self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an hour of some machines costs, as the user says."""

    machine: str
    """What the name of its hardware contains, upper and lower case alike."""
    dollars_per_hour: float
    on: str
    """The day, ISO 8601, on which that was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which mechanism is the best at a resolution, of those within the limits."""

    height: int
    width: int
    limits: tuple[Limit, ...] = ()
    goal: str = "latency_median_s"
    under: str = ""
    """What the conditions must contain, as reports say them; empty for any."""
    prices: tuple[Price, ...] = ()

    @property
    def words(self) -> str:
        """The question in a line."""
        which = "lowest" if METRICS[self.goal].better is Better.LOWER else "highest"
        limits = [each.words for each in self.limits]
        return ", ".join([f"{which} {name_of(self.goal)} at {resolution(self.height, self.width)}", *limits])


def name_of(metric: str) -> str:
    """Return what a metric is called in a sentence."""
    return METRICS[metric].label.partition(" (")[0]
