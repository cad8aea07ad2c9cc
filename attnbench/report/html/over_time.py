"""``history.html``: trends of all cells in one file that opens from disk and asks no network for anything."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

from markupsafe import Markup

from attnbench import inert
from attnbench.compare.verdict import Outcome
from attnbench.history.account import TIMED, FigureChange, History, named
from attnbench.history.trends import MeasuredRevision, Trend
from attnbench.history.words import size, told
from attnbench.metrics import METRICS, scale
from attnbench.report.html import bundle
from attnbench.report.html.charts import CONFIG
from attnbench.report.page.blocks import Page

MOST_POINTS = 30_000
"""What keeps the file small enough to send; of more, the latest of each trend are on the page."""
_DIGITS = 6
_WORSE = (Outcome.SLOWER, Outcome.WORSE)


def history_page(found: History, blocks: Page) -> str:
    """Return a history as the text of an HTML file that needs no other.

    Args:
        found: the history.
        blocks: what is said of it above the plots.
    """
    points = sum(len(trend.points) for trend in found.trends)
    most = max(1, MOST_POINTS // len(found.trends)) if points > MOST_POINTS else points
    scripts, style = _scripts(), bundle.read("report.css")
    return bundle.template("history.html.jinja").render(
        blocks=blocks,
        left_out=f"Of each trend the latest {most:,} runs at most are drawn." if points > MOST_POINTS else "",
        data=Markup(inert.script_data(_data(found, most))),  # noqa: S704 - that escapes
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own
        style=Markup(style),  # noqa: S704 - our own
        policy=bundle.policy(scripts, style),
    )


@cache
def _scripts() -> tuple[str, ...]:
    return bundle.scripts("page.js", "history.js")


def _data(found: History, most: int) -> dict[str, Any]:
    revisions = found.revisions
    at = {revision: place for place, revision in enumerate(revisions)}
    machines = {name: place for place, name in enumerate(dict.fromkeys(trend.machine for trend in found.trends))}
    names = named(found.trends)
    changes: dict[int, list[FigureChange]] = {}
    for change in found.changes:
        changes.setdefault(id(change.trend), []).append(change)
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for trend in found.trends:
        name = inert.line(names[trend.cell.key])
        cell = cells.setdefault((name, trend.metric), {"name": name, "metric": trend.metric, "lines": []})
        own = sorted(changes.get(id(trend), []), key=lambda change: change.place)
        cell["lines"].append(_line(trend, own, at, most) | {"machine": machines[trend.machine]})
    there = {trend.metric for trend in found.trends}
    metrics = sorted((name for name in METRICS if name in there), key=lambda name: name != TIMED)
    # What changed first, so that it is in sight.
    ordered = sorted(cells.values(), key=lambda cell: not any(line["changes"] for line in cell["lines"]))
    return {
        "charts": {"config": CONFIG},
        "revisions": [{"name": inert.line(one.name), "day": f"{one.at:%Y-%m-%d}"} for one in revisions],
        "machines": [inert.line(name) for name in machines],
        "metrics": [_metric(name, found) for name in metrics],
        "cells": ordered,
    }


def _metric(name: str, found: History) -> dict[str, Any]:
    unit = scale(name, [point.value for trend in found.trends if trend.metric == name for point in trend.points])
    return {"name": name, "label": METRICS[name].label.partition(" (")[0], "unit": unit.unit, "size": unit.size}


def _line(trend: Trend, changes: Sequence[FigureChange], at: dict[MeasuredRevision, int], most: int) -> dict[str, Any]:
    points, first = trend.points[-most:], max(0, len(trend.points) - most)
    places = [max(change.place - first, 0) for change in changes]
    edges = [0, *(place for place in places if place), len(points)]
    stretches = [points[start:end] for start, end in pairwise(edges) if end > start]
    return {
        "at": [at[point.revision] for point in points],
        **{end: [_short(getattr(point, end)) for point in points] for end in ("value", "low", "high")},
        "levels": [
            [at[part[0].revision], at[part[-1].revision], _short(median(point.value for point in part))]
            for part in stretches
        ],
        "changes": [
            [at[change.first_after.revision], change.outcome in _WORSE, _said(change)]
            for change, place in zip(changes, places, strict=True)
            if place
        ],
    }


def _said(change: FigureChange) -> str:
    return inert.line(f"{change.outcome.value} {size(change)} since {told(change.first_after.revision)}")


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")
