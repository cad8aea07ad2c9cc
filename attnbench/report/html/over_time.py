"""``history.html``: trends of all cells in one file that opens from disk and asks no network for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

from markupsafe import Markup

from attnbench import inert
from attnbench.compare.verdict import Outcome
from attnbench.history.account import TIMED, FigureChange, History, named
from attnbench.history.trends import MeasuredRevision, Trend
from attnbench.history.words import ended_as, size, told
from attnbench.metrics import METRICS, scale
from attnbench.record import Status
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
    names = named(found)
    changes: dict[int, list[FigureChange]] = {}
    for change in found.changes:
        changes.setdefault(id(change.trend), []).append(change)
    ended = _ended(found, names, at, most)
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for trend in found.trends:
        name = inert.line(names[trend.cell.key])
        cell = cells.setdefault((name, trend.metric), {"name": name, "metric": trend.metric, "lines": []})
        cell |= ended.get(name, {})
        own = sorted(changes.get(id(trend), []), key=lambda change: change.place)
        cell["lines"].append(_line(trend, own, at, most) | {"machine": machines[trend.machine]})
    there = {trend.metric for trend in found.trends}
    metrics = sorted((name for name in METRICS if name in there), key=lambda name: name != TIMED)
    # What changed first, so that it is in sight.
    ordered = sorted(cells.values(), key=_is_unchanged)
    return {
        "charts": {"config": CONFIG},
        "revisions": [{"name": inert.line(one.name), "day": f"{one.at:%Y-%m-%d}"} for one in revisions],
        "machines": [inert.line(name) for name in machines],
        "metrics": [_metric(name, found) for name in metrics],
        "cells": ordered,
    }


def _is_unchanged(cell: Mapping[str, Any]) -> bool:
    return not cell.get("changes") and not any(line["changes"] for line in cell["lines"])


def _ended(
    found: History, names: Mapping[str, str], at: Mapping[MeasuredRevision, int], most: int
) -> dict[str, dict[str, Any]]:
    """Return at which revisions cells did not end ok, and where that changed, by what they are called."""
    several = len({each.machine for each in found.statuses}) > 1
    by_name: dict[str, dict[str, Any]] = {}
    for each in found.statuses:
        failures = [end for end in each.ends if end.status is not Status.OK][-most:]
        where = f" on {each.machine}" if several else ""
        own = by_name.setdefault(inert.line(names[each.cell.key]), {"failed": [], "changes": []})
        own["failed"] += [
            [at[end.revision], inert.line(f"{': '.join(filter(None, (end.status.value, end.reason)))}{where}")]
            for end in failures
        ]
    for change in found.status_changes:
        said = f"{ended_as(change)}: {change.last_before.status.value} to {change.now} since {told(change.since)}"
        by_name[inert.line(names[change.cell.key])]["changes"].append(
            [at[change.since], change.outcome is not Outcome.BETTER, inert.line(said)]
        )
    return {name: own for name, own in by_name.items() if own["failed"] or own["changes"]}


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
