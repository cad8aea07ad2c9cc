"""Who is best in one comparison and one metric, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from attnbench.metrics import METRICS, Better, Compared, Needs, format_interval, is_number

Row = Any
"""A row as ``DataFrame.itertuples`` yields it."""
Span = tuple[float, float, float]
"""A value, and the lower and upper end of its interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """How a comparison ends in one metric."""

    best: str
    """Label of the best value's row."""
    value: str
    """With unit and interval."""
    level: tuple[str, ...]
    """Of whom it is not decided whether the best is better than they."""
    following: str
    """Who comes next for certain; empty if nobody does."""
    factor: str
    """By how much, with the interval; empty where only the order says something."""

    @property
    def names(self) -> tuple[str, ...]:
        """The best, and who is level with it."""
        return (self.best, *self.level)


def lead(rows: Sequence[Row], metric: str) -> Lead | None:
    """Return who leads among rows that differ in nothing but the mechanism, None if nobody can be said to.

    Rows that did not end ok, or whose figure something speaks against, take no part. Latencies are compared by their
    ratios to the baseline of their rounds where all have one: what slows a whole round is not in these.
    """
    spans = _spans([row for row in rows if _is_ranked(row, metric)], metric)
    if not spans:
        return None
    (best, own), *others = sorted(spans, key=lambda each: each[1][0])
    apart = [(row, _over(span, own)) for row, span in others]
    following = next(((row, factor) for row, factor in apart if factor[1] > 1), None)
    last = following[0] if following else None
    return Lead(
        best=best.label,
        value=format_interval(metric, *(getattr(best, name) for name in _with_ends(metric))),
        level=tuple(row.label for row, factor in apart if row is not last and factor[1] <= 1),
        following=last.label if last else "",
        factor=_factor(following[1]) if following and METRICS[metric].compared is not Compared.DIFFERENCE else "",
    )


def _is_ranked(row: Row, metric: str) -> bool:
    value = getattr(row, metric)
    measured = is_number(value) and value > 0
    return row.status == "ok" and measured and not any(getattr(row, doubt) for doubt in METRICS[metric].doubted_by)


def _spans(rows: Sequence[Row], metric: str) -> list[tuple[Row, Span]]:
    """Return rows with what they are compared by, lower being better; nothing where they cannot be compared."""
    found = METRICS[metric]
    if found.needs is Needs.ACCURACY and len({(row.accuracy_kind, row.dataset, row.epochs) for row in rows}) > 1:
        return []
    for source in _ratios(metric):
        if len({row.baseline for row in rows}) == 1 and all(is_number(getattr(row, source)) for row in rows):
            return [(row, _span(row, source)) for row in rows]
    if found.of_one_run and len({row.run_id for row in rows}) > 1:
        return []
    return [(row, _span(row, metric)) for row in rows]


@cache
def _ratios(metric: str) -> tuple[str, ...]:
    return tuple(name for name, one in METRICS.items() if one.ratio_of == metric)


def _with_ends(metric: str) -> tuple[str, str, str]:
    low, high = METRICS[metric].ends or (metric, metric)
    return metric, low, high


def _span(row: Row, metric: str) -> Span:
    value, low, high = (getattr(row, name) for name in _with_ends(metric))
    if not (is_number(low) and is_number(high) and 0 < low <= value <= high):
        low = high = value
    return (1 / value, 1 / high, 1 / low) if METRICS[metric].better is Better.HIGHER else (value, low, high)


def _over(span: Span, best: Span) -> Span:
    """Return the ratio of two values with the ends of the one's interval taken against those of the other's."""
    return span[0] / best[0], span[1] / best[2], span[2] / best[1]


def _factor(span: Span) -> str:
    value, low, high = span
    return f"{value:.2f}" if low == high else f"{value:.2f} [{low:.2f}, {high:.2f}]"
