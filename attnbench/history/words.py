"""A history for people and as data: the conclusion first, then every change, then what took no part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from attnbench.compare.verdict import Outcome
from attnbench.history.account import FigureChange, History, named
from attnbench.history.statuses import StatusChange
from attnbench.history.steps import FEWEST
from attnbench.history.trends import MeasuredRevision, Trend
from attnbench.metrics import METRICS, format_interval, format_value
from attnbench.report.page.blocks import Block, Column, Heading, Listing, Page, Paragraph, Piece, Table, Tone, Words
from attnbench.wording import number_of

_TONES = {
    Outcome.SLOWER: Tone.BAD,
    Outcome.WORSE: Tone.BAD,
    Outcome.FASTER: Tone.GOOD,
    Outcome.BETTER: Tone.GOOD,
    Outcome.UNDECIDED: Tone.DOUBTFUL,
}
_MOST_LISTED = 200
"""Changes in the table; the others are counted, and all are in the data."""
_UNBROKEN = ("since", "change", "verdict", "by chance")
_ENDED = {Outcome.WORSE: "fails", Outcome.BETTER: "runs again", Outcome.NOT_COMPARED: "gone"}
_POWERS = ("1", "10", "100", "1,000", "10⁴", "10⁵", "10⁶")
_ALWAYS_SAID = (Outcome.SLOWER, Outcome.FASTER)


def page(found: History) -> Page:
    """Return what changed, the conclusion first."""
    return (Paragraph(Piece(conclusion(found), Tone.STRONG)), *_changes(found), *_notes(found))


def conclusion(found: History) -> str:
    """Return the history in a sentence."""
    counts = {outcome: sum(one.outcome is outcome for one in found.changes) for outcome in Outcome}
    said = [f"{count} {outcome}" for outcome, count in counts.items() if count or outcome in _ALWAYS_SAID]
    became = Counter(map(ended_as, found.status_changes))
    said += [f"{became[words]} {words}" for words in _ENDED.values() if became[words]]
    revisions, cells = found.revisions, {trend.cell.key for trend in found.trends}
    machines = {trend.machine for trend in found.trends if not trend.is_exact}
    span = f"{told(revisions[0])} to {told(revisions[-1])}" if len(revisions) > 1 else told(revisions[0])
    where = f", on {number_of(len(machines), 'machine or environment', 'machines or environments')}" if machines else ""
    return (
        f"{', '.join(said)}: {number_of(len(cells), 'cell', 'cells')} over "
        f"{number_of(len(revisions), 'revision', 'revisions')}, {span}{where}."
    )


def told(revision: MeasuredRevision) -> str:
    """Return a revision with its date."""
    return f"{revision.name} ({revision.at:%Y-%m-%d})"


def size(change: FigureChange) -> str:
    """Return by how much a figure changed: a ratio with its interval, or the difference of what is exact."""
    if change.ratio is not None:
        return format_interval("latency_ratio", change.ratio.value, change.ratio.low, change.ratio.high)
    before, after = change.last_before.value, change.first_after.value
    return f"{after - before:+,} ({100 * (after / before - 1):+.3g} %)" if before else f"{after - before:+,}"


def ended_as(change: StatusChange) -> str:
    """Return what became of a cell: it fails, runs again, or is gone."""
    return _ENDED[change.outcome]


def how_sure(change: FigureChange) -> str:
    """Return how often it would be listed by chance."""
    if change.ratio is None:
        return "exact"
    return f"1 in {_POWERS[min(6, int(-_exponent(change.chance)))]}"


def plain(found: History) -> dict[str, Any]:
    """Return a history as JSON has it, numbers in the units that ``records.csv`` has."""
    names = named(found)
    return {
        "conclusion": conclusion(found),
        "threshold": found.threshold,
        "left_out": dict(found.left_out),
        "changes": [
            {
                **_of(one.trend, names),
                "outcome": one.outcome.value,
                "after": _revision(one.last_before.revision),
                "since": _revision(one.first_after.revision),
                "value_before": one.last_before.value,
                "value_since": one.first_after.value,
                "ratio": one.ratio and asdict(one.ratio),
                "chance_at_most": one.chance,
                "versions": list(one.versions),
            }
            for one in found.changes
        ],
        "status_changes": [
            {
                "cell": names[one.cell.key],
                "cell_key": one.cell.key,
                "machine": one.machine,
                "outcome": one.outcome.value,
                "after": _revision(one.last_before.revision),
                "since": _revision(one.since),
                "status_before": one.last_before.status.value,
                "status_since": one.first_after and one.first_after.status.value,
                "reason": one.reason or None,
            }
            for one in found.status_changes
        ],
        "trends": [
            _of(trend, names)
            | {
                "points": [
                    _revision(one.revision) | {"value": one.value, "interval_95": _interval(one.low, one.high)}
                    for one in trend.points
                ]
            }
            for trend in found.trends
        ],
    }


def _changes(found: History) -> Iterator[Block]:
    everything: list[FigureChange | StatusChange] = [*found.status_changes, *found.changes]
    if not everything:
        return
    everything.sort(key=_since, reverse=True)
    names, shown = named(found), everything[:_MOST_LISTED]
    several = len({_machine(one) for one in shown} - {""}) > 1
    headings = ("since", "cell", "figure", "change", "verdict", "by chance", *(["machine"] if several else []))
    yield Heading(text="What changed")
    yield Table(
        columns=tuple(Column(heading=heading, unbroken=heading in _UNBROKEN) for heading in headings),
        rows=tuple((*_row(one, names), *([_machine(one)] if several else [])) for one in shown),
    )
    if len(everything) > len(shown):
        yield Paragraph(f"and {len(everything) - len(shown)} earlier ones")
    yield from _between(shown)


def _row(one: FigureChange | StatusChange, names: dict[str, str]) -> tuple[Words, ...]:
    if isinstance(one, StatusChange):
        tone = Tone.DOUBTFUL if one.first_after is None else _TONES[one.outcome]
        change = f"{one.last_before.status.value} to {one.now}"
        said = Piece(ended_as(one).upper(), tone)
        return one.since.name, names[one.cell.key], "status", change, said, "exact"
    return (
        one.first_after.revision.name,
        names[one.trend.cell.key],
        METRICS[one.trend.metric].label.partition(" (")[0],
        size(one),
        Piece(one.outcome.value.upper(), _TONES.get(one.outcome, Tone.PLAIN)),
        how_sure(one),
    )


def _since(one: FigureChange | StatusChange) -> MeasuredRevision:
    return one.since if isinstance(one, StatusChange) else one.first_after.revision


def _machine(one: FigureChange | StatusChange) -> str:
    """Return where it changed; empty for a figure that does not depend on it."""
    if isinstance(one, StatusChange):
        return one.machine
    return "" if one.trend.is_exact else one.trend.machine


def _between(shown: Sequence[FigureChange | StatusChange]) -> Iterator[Block]:
    """Yield between which commits changes came, what each was before, and which versions changed with it or why."""
    lines: dict[Words, None] = {}
    for one in shown:
        came = f"{_since(one).name}: came between {told(one.last_before.revision)} and {told(_since(one))}"
        if isinstance(one, StatusChange):
            why = f"; {one.cell.label}: {one.reason}" if one.reason else ""
        else:
            why = f"; {'; '.join(one.versions)}" if one.versions else ""
        lines[came + why] = None
    yield Listing(points=tuple(lines))


def _notes(found: History) -> Iterator[Block]:
    low, high = 1 / (1 + found.threshold), 1 + found.threshold
    said = []
    if found.left_out:
        counted = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        said.append(f"Left out of the figures: {counted}.")
    if found.too_short:
        what = number_of(found.too_short, "trend", "trends")
        said.append(f"Too short to say anything, under {2 * FEWEST} runs on one machine: {what}.")
    said.append(
        f"Slower: the 95 % interval of after over before lies above {high:.4g}; faster: below {low:.4g}; undecided: it "
        "changed, and may have by less. Exact figures, and how cells ended, are compared from run to run. Gone: a "
        "later run on that hardware has most of what was measured beside a cell, and no row of it. +: with changes "
        "not committed."
    )
    yield Listing(points=tuple(said))


def _of(trend: Trend, names: dict[str, str]) -> dict[str, Any]:
    return {
        "cell": names[trend.cell.key],
        "cell_key": trend.cell.key,
        "metric": trend.metric,
        "machine": trend.machine,
        "latest": format_value(trend.metric, trend.points[-1].value),
    }


def _revision(one: MeasuredRevision) -> dict[str, Any]:
    return {"revision": one.name, "commit": one.commit or None, "at": one.at.isoformat()}


def _interval(low: float, high: float) -> list[float] | None:
    return [low, high] if low < high else None


def _exponent(chance: float) -> float:
    return math.log10(chance) if chance > 0 else -6.0
