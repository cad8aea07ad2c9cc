"""A column of measured values as texts and as intervals: gone through once, for all the rows of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

import pandas as pd

from attnbench.metrics import METRICS, Better, Scale, is_number
from attnbench.report.span import Span

Texts = tuple[str, str, str]
"""A value, both ends of its interval, and these with less room."""
Ends = tuple[float, float, float]
"""The nearer end of an interval, the value and the farther end, so that the lowest is the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredColumn:
    """The values of a metric, by the place of their row in the frame."""

    metric: str
    texts: list[Texts | None]
    """None where nothing was measured."""
    spans: list[Ends | None]
    """None where a row is not ranked either: it did not end ok, or something speaks against its figure."""

    def best(self, spans: Mapping[int, Ends | None]) -> set[int]:
        """Return the places of those spans that do not lie wholly beyond that of the best value."""
        known = {place: span for place, span in spans.items() if span is not None}
        farthest = min(known.values(), key=lambda span: span[1], default=(0.0, 0.0, 0.0))[2]
        return {place for place, (low, _, _) in known.items() if low <= farthest}


def measured(metric: str, rows: pd.DataFrame, unit: Scale) -> MeasuredColumn:
    """Return a column of prepared rows.

    Args:
        metric: its name.
        rows: the frame.
        unit: what its numbers are printed in.
    """
    found = METRICS[metric]
    values, ends = numbers(rows[metric]), _pairs(rows, found.ends)
    limits = [limit / unit.size for limit in found.limits]
    texts = [
        None if value is None else _texts(value, pair, unit, limits) for value, pair in zip(values, ends, strict=True)
    ]
    spans = _inverted(rows, values, found.inverse_of) if found.inverse_of else ends
    sign = -1 if found.better is Better.HIGHER else 1
    fit = rows["status"].eq("ok") & (found.better is not Better.NEITHER)
    ranked = fit & ~rows[list(found.doubted_by)].astype(bool).any(axis=1)
    return MeasuredColumn(
        metric=metric,
        texts=texts,
        spans=[
            None if value is None or not fit else _ordered(value, pair, sign)
            for fit, value, pair in zip(ranked, values, spans, strict=True)
        ],
    )


def numbers(values: pd.Series[Any]) -> list[float | None]:
    """Return numbers as they are, and None for what is none."""
    listed = values.tolist()
    if set(map(type, listed)) <= {
        int,
        float,
        NoneType,
    }:  # as nearly always: asked of each value it takes five times as long
        return [value if value is not None and math.isfinite(value) else None for value in listed]
    return [value if is_number(value) else None for value in listed]


def any_number(values: pd.Series[Any]) -> bool:
    """Return whether there is a number among values."""
    return any(map(is_number, values.dropna()))


def _pairs(rows: pd.DataFrame, ends: tuple[str, ...]) -> list[tuple[float, float] | None]:
    """Return the intervals, None where an end is missing or the metric has none."""
    if not ends:
        return [None] * len(rows)
    lows, highs = (numbers(rows[end]) for end in ends)
    return [None if low is None or high is None else (low, high) for low, high in zip(lows, highs, strict=True)]


def _inverted(rows: pd.DataFrame, values: Iterable[float | None], inverse: str) -> list[tuple[float, float] | None]:
    """Return the intervals that values such as a throughput have from the latency that they are computed from."""
    medians = numbers(rows[inverse])
    pairs = _pairs(rows, METRICS[inverse].ends)
    return [
        (value * median / pair[1], value * median / pair[0])
        if value is not None and median and pair and median > 0 and min(pair) > 0
        else None
        for value, median, pair in zip(values, medians, pairs, strict=True)
    ]


def _ordered(value: float, pair: tuple[float, float] | None, sign: int) -> Ends:
    low, high = (sign * end for end in pair or (value, value))
    return min(low, high), sign * value, max(low, high)


def _texts(value: float, pair: tuple[float, float] | None, unit: Scale, limits: list[float]) -> Texts:
    if pair is None or not pair[0] < pair[1]:
        return unit.number(value), "", ""
    low, high = pair
    decimals = unit.decimals(value, half_width=(high - low) / 2)
    found = Span(value=value / unit.size, low=low / unit.size, high=high / unit.size)
    brief = found.margin(decimals, limits) or found.fewest(decimals, limits)
    return f"{found.value:.{decimals}f}", found.ends(decimals), brief
