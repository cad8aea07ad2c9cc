"""Two runs against each other, base and head, cell by cell.

Latencies are compared where the environments agree, by the interval of their ratio. What is deterministic is compared
exactly and on any machine: memory, and what other programs count, where the software that they depend on is the same.
Accuracies are compared by interval on any machine. Which attnbench measured may differ.

Two separate runs have one blind spot. What shifts a whole run (another load, another machine of the same make, where
in memory things came to lie) is in no interval of that run: the threshold has to be wider than it. ``rerun``, beside
this module, measures base and head at once and is the way around it. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

from attnbench import store
from attnbench.compare.pairing import Matched, Pair, environment_differences, match
from attnbench.compare.verdict import (
    DISTURBED,
    LATENCY,
    STATUS,
    THRESHOLD,
    Comparison,
    Outcome,
    Verdict,
    check_threshold,
    difference_of,
    judge,
    judge_accuracy,
    judge_cost,
    ratio_of,
    widened,
    widest_ratio,
)
from attnbench.errors import UsageError
from attnbench.files import UnreadableError
from attnbench.metrics import METRICS, Better, Compared, compared, is_number
from attnbench.probes.interval import FEWEST_SAMPLES, Estimate, Series, median_estimate
from attnbench.record import Record, Status, Unit
from attnbench.store import timed_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRatio:
    """The latencies of two records, compared."""

    change: Estimate
    """head / base with its 95 % interval."""
    remark: str = ""
    """What to know about it."""
    detectable: float | None = None
    """As of a Verdict."""


Ratio = Callable[[Pair], LatencyRatio | None]
"""Compares the latencies of two records; None if one has no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """The records of a run and the folder of its raw samples."""

    records: tuple[Record, ...]
    samples: Path
    elsewhere: Mapping[Unit, Path] = field(default_factory=dict)
    """Folders of samples by what they are the rows of, where several workers have measured."""

    @classmethod
    def read(cls, path: Path) -> ComparedRun:
        """Return the run in a folder, or the one that a ``records.jsonl`` belongs to.

        Raises:
            StoreError: there are no records, or they cannot be read.
        """
        folder = path if path.is_dir() else path.parent
        placed = store.placed(path)
        return cls(
            records=tuple(each.record for each in placed),
            samples=folder / "samples",
            elsewhere={each.record.unit: each.folder / "samples" for each in placed if path.is_dir()},
        )

    def seconds(self, record: Record) -> Series | None:
        """Return the samples behind a record's latency, seconds per call; None if they are not there."""
        try:
            arrays = timed_calls.read(self.elsewhere.get(record.unit, self.samples) / f"{record.cell.key}.npz")
            seconds: Series = arrays["elapsed_ns"] / (1e9 * float(arrays["calls_per_sample"]))
        except (UnreadableError, KeyError):
            return None
        # A run that ended between its samples and its record leaves samples that belong to no record.
        belongs = len(seconds) == record.metrics.get("latency_samples")
        return seconds if belongs and len(seconds) >= FEWEST_SAMPLES else None


def compare(base: Path, head: Path, *, threshold: float = THRESHOLD, force: bool = False) -> Comparison:
    """Compare two runs on disk, each a folder or its ``records.jsonl``.

    Args:
        base: what was.
        head: what is now.
        threshold: change of a latency, as a fraction, up to which it counts as the same.
        force: compare latencies of different environments too; their verdicts say so.

    Raises:
        StoreError: a run cannot be read.
        UsageError: the runs have no cell in common, or the threshold is not one.
    """
    old, new = ComparedRun.read(base), ComparedRun.read(head)

    def ratio(pair: Pair) -> LatencyRatio | None:
        return ratio_of_runs(pair, old.seconds(pair.base), new.seconds(pair.head))

    return compare_matched(match(old.records, new.records), ratio=ratio, threshold=threshold, force=force)


def compare_matched(matched: Matched, *, ratio: Ratio, threshold: float = THRESHOLD, force: bool = False) -> Comparison:
    """Compare pairs of records whose ratio of latencies is found by whoever measured them; see ``compare``.

    Raises:
        UsageError: the runs have no cell in common, or the threshold is not one.
    """
    check_threshold(threshold)
    if not matched.pairs:
        raise UsageError(
            f"nothing to compare: none of the {len(matched.only_in_base)} cells of base is among the "
            f"{len(matched.only_in_head)} of head; run the same sweep for both"
        )
    verdicts: list[Verdict] = []
    for pair in matched.pairs:
        verdicts += _status(pair)
        verdicts += _latency(pair, ratio, threshold=threshold, force=force)
        verdicts += _recorded_ratios(pair, threshold=threshold, force=force)
        verdicts += _exact(pair)
        verdicts += _accuracy(pair)
    return Comparison(
        verdicts=tuple(verdicts),
        only_in_base=matched.only_in_base,
        only_in_head=matched.only_in_head,
        threshold=threshold,
    )


def _status(pair: Pair) -> Iterator[Verdict]:
    before, after = pair.base.status, pair.head.status
    if before is Status.OK and after is Status.OK:
        return
    failed = pair.base if after is Status.OK else pair.head
    outcome = Outcome.NOT_COMPARED
    if Status.OK in (before, after):
        outcome = Outcome.BETTER if after is Status.OK else Outcome.WORSE
    yield Verdict(
        cell=pair.head.cell, metric=STATUS, outcome=outcome, base=before.value, head=after.value, reason=failed.reason
    )


def _latency(pair: Pair, ratio: Ratio, *, threshold: float, force: bool) -> Iterator[Verdict]:
    missing = pair.missing(LATENCY)
    if missing is None:
        return
    differing = environment_differences(pair.base.environment, pair.head.environment)
    refused = f"environments differ in {differing}" if differing else _unlike(pair, LATENCY)
    found = None if missing or (refused and not force) else ratio(pair)
    if found is None:
        reason = missing or refused or "no interval was recorded"
        yield _verdict(pair, LATENCY, Outcome.NOT_COMPARED, reason=reason)
        return
    forced = f"forced, though {refused}" if refused else ""
    reason = "; ".join(part for part in (forced, found.remark) if part)
    outcome = judge(found.change, threshold=threshold)
    judged = _verdict(pair, LATENCY, outcome, change=found.change, reason=reason)
    yield replace(judged, detectable=found.detectable)


def _recorded_ratios(pair: Pair, *, threshold: float, force: bool) -> Iterator[Verdict]:
    """Yield what recorded intervals say of other figures than the latency that are compared by their ratio."""
    for metric in compared(Compared.RATIO):
        missing = pair.missing(metric)
        if metric == LATENCY or missing is None:
            continue
        base, head = (_estimate(record, metric) for record in (pair.base, pair.head))
        differing = environment_differences(pair.base.environment, pair.head.environment)
        refused = missing or _unlike(pair, metric) or (f"environments differ in {differing}" if differing else "")
        if missing or not (_spans(base) and _spans(head)) or (refused and not force):
            nothing = "no interval above 0 was recorded"
            yield _verdict(pair, metric, Outcome.NOT_COMPARED, reason=refused or nothing)
            continue
        change, disturbed = ratio_of(head, base), _disturbed(pair)
        if disturbed:
            change = widened(change, DISTURBED)
        reason = "; ".join(part for part in (f"forced, though {refused}" if refused else "", disturbed) if part)
        yield _verdict(pair, metric, judge_cost(change, threshold=threshold), change=change, reason=reason)


def _spans(estimate: Estimate | None) -> TypeGuard[Estimate]:
    """Return whether there is an interval that a ratio can be taken of."""
    return estimate is not None and estimate.low > 0


def _unlike(pair: Pair, metric: str) -> str:
    """Return how the two runs differ in what must be alike for a metric, empty if they do not."""
    alike = METRICS[metric].alike
    base, head = (record.metrics.get(alike) for record in (pair.base, pair.head))
    return "" if base == head else f"{METRICS[alike].label}: {base} / {head}"


def _exact(pair: Pair) -> Iterator[Verdict]:
    for metric in compared(Compared.EXACT):
        missing = pair.missing(metric)
        if missing is None:
            continue
        differing = pair.differing_fields(METRICS[metric].depends_on)
        base, head = pair.base.metrics.get(metric), pair.head.metrics.get(metric)
        if missing or differing:
            reason = missing or f"it depends on {differing}"
            yield _verdict(pair, metric, Outcome.NOT_COMPARED, reason=reason)
        elif is_number(base) and is_number(head):
            yield _verdict(pair, metric, _judge_exact(metric, base, head))


def _accuracy(pair: Pair) -> Iterator[Verdict]:
    for metric in compared(Compared.DIFFERENCE):
        missing = pair.missing(metric)
        if missing is None:
            continue
        base, head = (_estimate(record, metric) for record in (pair.base, pair.head))
        kinds = [str(record.metrics.get("accuracy_kind")) for record in (pair.base, pair.head)]
        if missing or kinds[0] != kinds[1] or base is None or head is None:
            kind = f"accuracies of different kinds: {kinds[0]} / {kinds[1]}" if kinds[0] != kinds[1] else ""
            yield _verdict(pair, metric, Outcome.NOT_COMPARED, reason=missing or kind or "no interval was recorded")
        else:
            change = difference_of(head, base)
            yield _verdict(pair, metric, judge_accuracy(change), change=change)


def _judge_exact(metric: str, base: float, head: float) -> Outcome:
    if head == base:
        return Outcome.SAME
    return Outcome.WORSE if (head > base) is (METRICS[metric].better is Better.LOWER) else Outcome.BETTER


def ratio_of_runs(pair: Pair, base: Series | None, head: Series | None) -> LatencyRatio | None:
    """Compare two separate runs, whose intervals know nothing of what shifted one of them as a whole."""
    remark = ""
    if base is not None and head is not None:
        change = ratio_of(median_estimate(head), median_estimate(base))
    else:
        before, after = _estimate(pair.base, LATENCY), _estimate(pair.head, LATENCY)
        if before is None or after is None:
            return None
        change, remark = widest_ratio(after, before), "from recorded intervals, the samples are not there"
    disturbed = _disturbed(pair)
    if disturbed:
        change = widened(change, DISTURBED)
    return LatencyRatio(change=change, remark="; ".join(part for part in (remark, disturbed) if part))


def _estimate(record: Record, metric: str) -> Estimate | None:
    value, low, high = (record.metrics.get(name) for name in (metric, *METRICS[metric].ends))
    if not (is_number(value) and is_number(low) and is_number(high)):
        return None
    return Estimate(value=value, low=low, high=high)


def _disturbed(pair: Pair) -> str:
    said = {
        side: record.metrics.get("latency_interference") for side, record in (("base", pair.base), ("head", pair.head))
    }
    causes = "; ".join(f"{side} was disturbed ({cause})" for side, cause in said.items() if cause)
    return f"{causes}, so each end of the interval is moved out by a factor of {DISTURBED:g}" if causes else ""


def _verdict(pair: Pair, metric: str, outcome: Outcome, *, change: Estimate | None = None, reason: str = "") -> Verdict:
    return Verdict(
        cell=pair.head.cell,
        metric=metric,
        outcome=outcome,
        base=pair.base.metrics.get(metric),
        head=pair.head.metrics.get(metric),
        change=change,
        reason="; ".join(part for part in (reason, pair.changed_options) if part),
    )
