"""A comparison of two runs for the screen and, as Markdown, for a pull request.

Both say the same in the same order: the counts; latencies and accuracies with their intervals; what was not compared
and why; which exact figures changed; what started or ceased to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attnbench import inert
from attnbench.compare.verdict import ACCURACY, ACCURACY_MARGIN, LATENCY, STATUS, Comparison, Outcome, Verdict
from attnbench.metrics import METRICS, Compared, compared, format_interval, format_value, is_number
from attnbench.report.naming import names, shared

_STYLES = {
    Outcome.SLOWER: "bold red",
    Outcome.WORSE: "bold red",
    Outcome.FASTER: "bold green",
    Outcome.BETTER: "bold green",
    Outcome.UNDECIDED: "yellow",
}
_FLUSH_RIGHT = ("base", "head")
_CHANGED = (Outcome.WORSE, Outcome.BETTER)

Names = Mapping[str, str]
"""What cells are called, by their keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """A table; its last column is in the colour of the outcome."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """A list."""

    title: str
    lines: tuple[str, ...]


def screen(comparison: Comparison) -> RenderableType:
    """Return a comparison for ``Console.print``; it fits into 80 columns."""
    parts: list[RenderableType] = [Text(comparison.summary(), style="bold")]
    for part in _parts(comparison):
        parts += [Text(), Text(part.title, style="bold cyan")]
        parts += [_screen_table(part)] if isinstance(part, _Rows) else [_screen_list(part)]
    return Group(*parts)


def to_markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown, the counts in its first line."""
    parts = [f"**{inert.markdown(comparison.summary())}**"]
    for part in _parts(comparison):
        parts.append(f"### {inert.markdown(part.title)}")
        parts.append(_markdown_table(part) if isinstance(part, _Rows) else _markdown_list(part))
    return "\n\n".join(parts) + "\n"


def _parts(comparison: Comparison) -> Iterator[_Rows | _Lines]:
    cells = [verdict.cell for verdict in comparison.verdicts]
    named = names([*{cell.key: cell for cell in (*cells, *comparison.only_in_base, *comparison.only_in_head)}.values()])
    latencies, accuracies = comparison.about(LATENCY), comparison.about(ACCURACY)
    if latencies:
        title = f"Latency: {shared([verdict.cell for verdict in latencies])}"
        yield _judged(title, "head / base", latencies, named)
    for metric in compared(Compared.RATIO):
        if metric != LATENCY and comparison.about(metric):
            label = METRICS[metric].label
            yield _judged(f"{label[0].upper()}{label[1:]}", "head / base", comparison.about(metric), named)
    if accuracies:
        yield _judged("Top-1 accuracy", "head - base, points", accuracies, named)
    yield from _reasons("Not compared", comparison, named, refused=True)
    yield from _exact_changes(comparison, named)
    yield from _list("Status", (_status(verdict, named) for verdict in comparison.about(STATUS)))
    yield from _list("Only in base", (named[cell.key] for cell in comparison.only_in_base))
    yield from _list("Only in head", (named[cell.key] for cell in comparison.only_in_head))
    yield from _reasons("Notes", comparison, named, refused=False)
    yield from _list("How to read it", _explained(comparison))


def _judged(title: str, change: str, verdicts: Sequence[Verdict], named: Names) -> _Rows:
    return _Rows(
        title=title,
        headings=("cell", "base", "head", change, "verdict"),
        rows=tuple(
            (
                named[one.cell.key],
                format_value(one.metric, one.base),
                format_value(one.metric, one.head),
                _interval(one),
                one.outcome.value.upper(),
            )
            for one in verdicts
        ),
        outcomes=tuple(one.outcome for one in verdicts),
    )


def _exact_changes(comparison: Comparison, named: Names) -> Iterator[_Rows]:
    changed = [one for one in comparison.exact if one.outcome in _CHANGED]
    if changed:
        yield _Rows(
            title="Exact figures that changed",
            headings=("cell", "figure", "base", "head", "change"),
            rows=tuple(
                (
                    named[one.cell.key],
                    METRICS[one.metric].label,
                    format_value(one.metric, one.base),
                    format_value(one.metric, one.head),
                    _exact_change(one),
                )
                for one in changed
            ),
            outcomes=tuple(one.outcome for one in changed),
        )


def _reasons(title: str, comparison: Comparison, named: Names, *, refused: bool) -> Iterator[_Lines]:
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


def _list(title: str, lines: Iterable[str]) -> Iterator[_Lines]:
    found = tuple(lines)
    if found:
        yield _Lines(title=title, lines=found)


def _explained(comparison: Comparison) -> Iterator[str]:
    if comparison.about(LATENCY):
        low, high = 1 / (1 + comparison.threshold), 1 + comparison.threshold
        yield (
            f"Brackets: 95 % interval. Slower: all of it above {high:.4g}; faster: all of it below {low:.4g}; "
            "same: all of it between them; undecided: it reaches over one of them."
        )
    if comparison.about(ACCURACY):
        yield f"Accuracy is the same within {100 * ACCURACY_MARGIN:g} point."


def _interval(verdict: Verdict) -> str:
    change = verdict.change
    if change is None:
        return ""
    if METRICS[verdict.metric].compared is Compared.RATIO:
        return format_interval("latency_ratio", change.value, change.low, change.high)
    return f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


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


def _screen_table(part: _Rows) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(part.headings):
        table.add_column(
            heading, justify="right" if heading in _FLUSH_RIGHT else "left", overflow="fold", no_wrap=place > 1
        )
    for row, outcome in zip(part.rows, part.outcomes, strict=True):
        table.add_row(*(Text(cell) for cell in row[:-1]), Text(row[-1], style=_STYLES.get(outcome, "")))
    return table


def _screen_list(part: _Lines) -> Table:
    grid = Table.grid(padding=(0, 1))
    for line in part.lines:
        grid.add_row("-", Text(line, overflow="fold"))
    return grid


def _markdown_table(part: _Rows) -> str:
    rules = ["---:" if heading in _FLUSH_RIGHT else ":---" for heading in part.headings]
    body = [[inert.markdown(cell) for cell in row] for row in part.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (part.headings, rules, *body))


def _markdown_list(part: _Lines) -> str:
    return "\n".join(f"- {inert.markdown(line)}" for line in part.lines)
