"""What a history says: every change of a figure, between which revisions it came, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from attnbench.compare.verdict import THRESHOLD, Outcome, check_threshold, judge, judge_cost
from attnbench.errors import UsageError
from attnbench.history.statuses import CellStatuses, StatusChange, status_changes, statuses
from attnbench.history.steps import FEWEST, SURE, Step, steps
from attnbench.history.trends import MeasuredRevision, Measurement, Trend, trends
from attnbench.metrics import METRICS, Better
from attnbench.probes.interval import Estimate
from attnbench.record import Record

TIMED = "latency_median_s"
"""The figure that is first looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureChange:
    """A figure that changed."""

    trend: Trend
    place: int
    """Of the first point after it."""
    outcome: Outcome
    ratio: Estimate | None = None
    """After over before with its 95 % interval; None for a figure that is exact."""
    chance: float = 0.0
    """How often it would be listed at most though nothing had changed; 0 for a figure that is exact."""

    @property
    def last_before(self) -> Measurement:
        """The last point before it."""
        return self.trend.points[self.place - 1]

    @property
    def first_after(self) -> Measurement:
        """The first point after it."""
        return self.trend.points[self.place]

    @property
    def versions(self) -> tuple[str, ...]:
        """Which versions changed with it."""
        before, after = self.last_before.versions, self.first_after.versions
        both = [name for name in after if name in before and before[name] != after[name]]
        return tuple(f"{name}: {before[name]} before, {after[name]} after" for name in both)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Runs over time."""

    trends: tuple[Trend, ...]
    changes: tuple[FigureChange, ...]
    """The latest first."""
    statuses: tuple[CellStatuses, ...]
    """How cells ended."""
    status_changes: tuple[StatusChange, ...]
    """Cells that started to fail, run again or are gone, the latest first."""
    left_out: Mapping[str, int]
    """Rows whose figures take no part, by the reason."""
    threshold: float

    @property
    def revisions(self) -> list[MeasuredRevision]:
        """What was measured, the oldest first."""
        measured = {point.revision for trend in self.trends for point in trend.points}
        return sorted(measured | {end.revision for each in self.statuses for end in each.ends})

    @property
    def too_short(self) -> int:
        """How many trends of measured figures are too short for a change to be found in."""
        return sum(not trend.is_exact and len(trend.points) < 2 * FEWEST for trend in self.trends)


def history(records: Sequence[Record], *, threshold: float = THRESHOLD) -> History:
    """Return what changed over some runs.

    Exact figures, and how cells ended, are compared from run to run. Of measured figures a change is listed if its
    interval is not within the threshold; of those listed in all trends together at most one in a hundred is expected to
    be by chance (Benjamini and Hochberg), where runs are independent of each other.

    Args:
        records: of all runs.
        threshold: change of a measured figure, as a fraction, up to which it counts as the same.

    Raises:
        UsageError: there is nothing to see, or the threshold is not one.
    """
    check_threshold(threshold)
    found, left_out = trends(records)
    if not found:
        raise UsageError(f"no figure of the {len(records)} rows can be followed: none ended ok with one")
    changes = [change for trend in found if trend.is_exact for change in _exact(trend)]
    changes += _measured([trend for trend in found if not trend.is_exact], threshold)
    changes.sort(key=lambda change: (change.first_after.revision, change.trend.metric == TIMED), reverse=True)
    ended = statuses(records)
    return History(
        trends=tuple(found),
        changes=tuple(changes),
        statuses=tuple(ended),
        status_changes=tuple(sorted(status_changes(ended), key=lambda change: change.since, reverse=True)),
        left_out=left_out,
        threshold=threshold,
    )


def _exact(trend: Trend) -> Iterator[FigureChange]:
    lower = METRICS[trend.metric].better is Better.LOWER
    for place in range(1, len(trend.points)):
        before, after = trend.points[place - 1].value, trend.points[place].value
        if before != after:
            outcome = Outcome.WORSE if (after > before) is lower else Outcome.BETTER
            yield FigureChange(trend=trend, place=place, outcome=outcome)


def _measured(followed: Sequence[Trend], threshold: float) -> Iterator[FigureChange]:
    found = [(trend, step) for trend in followed for step in steps([point.value for point in trend.points])]
    without = len(followed) - len({id(trend) for trend, _ in found})
    for (trend, step), chance in zip(found, _adjusted([step for _, step in found], without), strict=True):
        verdict = judge if trend.metric == TIMED else judge_cost
        outcome = verdict(step.ratio, threshold=threshold)
        if chance <= SURE and outcome is not Outcome.SAME:
            yield FigureChange(trend=trend, place=step.place, outcome=outcome, ratio=step.ratio, chance=chance)


def _adjusted(found: Sequence[Step], without: int) -> list[float]:
    """Return the chances of steps, adjusted for how many trends were looked at."""
    if not found:
        return []
    from scipy.stats import false_discovery_control  # noqa: PLC0415

    everything = [step.chance for step in found] + [1.0] * without
    return [float(one) for one in false_discovery_control(everything)[: len(found)]]


def named(found: History) -> dict[str, str]:
    """Return what tells the cells of a history apart, by the key of each as it was asked last."""
    from attnbench.report.naming import names  # noqa: PLC0415 - pandas

    cells = [*(trend.cell for trend in found.trends), *(each.cell for each in found.statuses)]
    return names([*{cell.key: cell for cell in cells}.values()])
