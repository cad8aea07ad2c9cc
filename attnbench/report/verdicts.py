"""A comparison of two runs, for the screen and for a pull request.

In this order: the counts; latencies and accuracies with their intervals; what was not compared
and why; which exact figures changed; what started or ceased to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from attnbench.compare.blocks import POWER
from attnbench.compare.verdict import ACCURACY_MARGIN, LATENCY, SCORES, STATUS, Comparison, Outcome, Verdict
from attnbench.metrics import METRICS, Compared, compared, format_interval, format_value, is_number
from attnbench.report.naming import names, shared
from attnbench.report.page.blocks import (
    Align,
    Block,
    Column,
    Heading,
    Listing,
    Page,
    Paragraph,
    Piece,
    Table,
    Tone,
    Words,
)

_TONES = {
    Outcome.SLOWER: Tone.BAD,
    Outcome.WORSE: Tone.BAD,
    Outcome.FASTER: Tone.GOOD,
    Outcome.BETTER: Tone.GOOD,
    Outcome.UNDECIDED: Tone.DOUBTFUL,
}
_FINDS = "finds"
_FLUSH_RIGHT = ("base", "head", _FINDS)
_CHANGED = (Outcome.WORSE, Outcome.BETTER)

Names = Mapping[str, str]
"""What cells are called, by their keys."""


def page(comparison: Comparison) -> Page:
    """Return a comparison, the counts first; on a screen it fits into 80 columns."""
    return (Paragraph(Piece(comparison.summary(), Tone.STRONG)), *_parts(comparison))


def _parts(comparison: Comparison) -> Iterator[Block]:
    cells = [verdict.cell for verdict in comparison.verdicts]
    named = names([*{cell.key: cell for cell in (*cells, *comparison.only_in_base, *comparison.only_in_head)}.values()])
    latencies = comparison.about(LATENCY)
    if latencies:
        title = f"Latency: {shared([verdict.cell for verdict in latencies])}"
        yield from _judged(title, "head / base", latencies, named)
    for metric in compared(Compared.RATIO):
        if metric != LATENCY and comparison.about(metric):
            label = METRICS[metric].label
            yield from _judged(f"{label[0].upper()}{label[1:]}", "head / base", comparison.about(metric), named)
    for metric, said in SCORES.items():
        if scored := comparison.about(metric):
            title = "Top-1 accuracy" if said == "accuracy" else f"{said[0].upper()}{said[1:]}"
            yield from _judged(title, "head - base, points", scored, named)
    yield from _reasons("Not compared", comparison, named, refused=True)
    yield from _exact_changes(comparison, named)
    yield from _list("Status", (_status(verdict, named) for verdict in comparison.about(STATUS)))
    yield from _list("Only in base", (named[cell.key] for cell in comparison.only_in_base))
    yield from _list("Only in head", (named[cell.key] for cell in comparison.only_in_head))
    yield from _reasons("Notes", comparison, named, refused=False)
    yield from _list("How to read it", _explained(comparison))


def _judged(title: str, change: str, verdicts: Sequence[Verdict], named: Names) -> Iterator[Block]:
    yield Heading(text=title, level=3)
    known = any(one.detectable is not None for one in verdicts)
    yield _table(
        ("cell", "base", "head", change, "verdict", *([_FINDS] if known else [])),
        (
            (
                named[one.cell.key],
                format_value(one.metric, one.base),
                format_value(one.metric, one.head),
                _interval(one),
                Piece(one.outcome.value.upper(), _TONES.get(one.outcome, Tone.PLAIN)),
                *([_detectable(one)] if known else []),
            )
            for one in verdicts
        ),
    )


def _exact_changes(comparison: Comparison, named: Names) -> Iterator[Block]:
    changed = [one for one in comparison.exact if one.outcome in _CHANGED]
    if changed:
        yield Heading(text="Exact figures that changed", level=3)
        yield _table(
            ("cell", "figure", "base", "head", "change"),
            (
                (
                    named[one.cell.key],
                    METRICS[one.metric].label,
                    format_value(one.metric, one.base),
                    format_value(one.metric, one.head),
                    Piece(_exact_change(one), _TONES[one.outcome]),
                )
                for one in changed
            ),
        )


def _table(headings: Sequence[str], rows: Iterable[tuple[Words, ...]]) -> Table:
    columns = (
        Column(heading=heading, align=Align.RIGHT if heading in _FLUSH_RIGHT else Align.LEFT, unbroken=place > 1)
        for place, heading in enumerate(headings)
    )
    return Table(columns=tuple(columns), rows=tuple(rows))


def _reasons(title: str, comparison: Comparison, named: Names, *, refused: bool) -> Iterator[Block]:
    """Yield each reason once, with what it holds for: of refusals, or of verdicts that were reached."""
    told: dict[str, list[Verdict]] = {}
    for one in comparison.verdicts:
        judged = one.metric in METRICS and METRICS[one.metric].compared in (Compared.RATIO, Compared.DIFFERENCE)
        shown = judged or one.outcome is not Outcome.SAME
        if one.metric != STATUS and one.reason and shown and (one.outcome is Outcome.NOT_COMPARED) is refused:
            told.setdefault(one.reason, []).append(one)
    yield from _list(title, (_reason(reason, verdicts, named) for reason, verdicts in told.items()))


def _reason(reason: str, verdicts: Sequence[Verdict], named: Names) -> str:
    figures = ", ".join(dict.fromkeys(METRICS[one.metric].label for one in verdicts))
    cells = "; ".join(dict.fromkeys(named[one.cell.key] for one in verdicts))
    return f"{figures} of {cells}: {reason}"


def _list(title: str, lines: Iterable[str]) -> Iterator[Block]:
    found = tuple(lines)
    if found:
        yield Heading(text=title, level=3)
        yield Listing(points=found)


def _explained(comparison: Comparison) -> Iterator[str]:
    if comparison.about(LATENCY):
        low, high = 1 / (1 + comparison.threshold), 1 + comparison.threshold
        yield (
            f"Brackets: 95 % interval. Slower: all of it above {high:.4g}; faster: all of it below {low:.4g}; "
            "same: all of it between them; undecided: it reaches over one of them."
        )
    if any(verdict.detectable is not None for verdict in comparison.verdicts):
        yield (
            f"Finds: the smallest slowdown that this measurement calls slower {100 * POWER:.0f} times in 100. "
            "Base and head: lower quartiles of blocks of rounds, which calls that were interrupted leave alone."
        )
    if any(map(comparison.about, SCORES)):
        yield f"Accuracy is the same within {100 * ACCURACY_MARGIN:g} point."


def _interval(verdict: Verdict) -> str:
    change = verdict.change
    if change is None:
        return ""
    if METRICS[verdict.metric].compared is Compared.RATIO:
        return format_interval("latency_ratio", change.value, change.low, change.high)
    return f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def _detectable(verdict: Verdict) -> str:
    return "" if verdict.detectable is None else f"{100 * verdict.detectable:.3g} %"


def _exact_change(verdict: Verdict) -> str:
    if not (is_number(verdict.base) and is_number(verdict.head)):
        return ""
    difference = verdict.head - verdict.base
    return f"{difference:+,} ({_per_cent(difference / verdict.base)})" if verdict.base else f"{difference:+,}"


def _per_cent(share: float) -> str:
    """Return a share with two significant digits, or all before the point: ``g`` alone makes 100 1e+02."""
    return f"{100 * share:+,.0f} %" if abs(share) >= 0.1 else f"{100 * share:+.2g} %"


def _status(verdict: Verdict, named: Names) -> str:
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"{named[verdict.cell.key]}: {verdict.base} before, {verdict.head} now: {verdict.outcome}{reason}"
