"""Crossovers in words, as tables for a report and as ``crossovers.csv``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attnbench import files
from attnbench.metrics import METRICS
from attnbench.report.crossover import SHOWN, Crossover
from attnbench.report.spreadsheet import as_text

_OF_CROSSING = ("resolution", "low", "high", "kind", "below", "above", "leads_below", "leads_above")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """How pairs of mechanisms stand to each other in one setting."""

    conditions: tuple[str, ...]
    headings: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    """A pair and, for each metric, how the first stands to the second; empty where they cannot be compared."""
    unlisted: int
    """Pairs without the baseline that cross in none of the metrics."""


def standings(found: Sequence[Crossover], baselines: Collection[str]) -> Iterator[Standings]:
    """Yield what a report shows: every pair with a baseline, and of the others those that cross."""
    by_setting: dict[tuple[str, ...], list[Crossover]] = {}
    for each in found:
        by_setting.setdefault(each.conditions, []).append(each)
    for conditions, everything in by_setting.items():
        here = [each for each in everything if each.metric in SHOWN]
        pairs = dict.fromkeys((each.first, each.second) for each in here)
        crossing = {(each.first, each.second) for each in here if each.certain}
        listed = [pair for pair in pairs if pair[1] in baselines or pair in crossing]
        compared = {each.metric for each in here}
        metrics = [metric for metric in SHOWN if metric in compared]
        words = {(each.first, each.second, each.metric): each.words for each in here}
        if pairs:
            yield Standings(
                conditions=conditions,
                headings=("mechanisms", *(METRICS[metric].label for metric in metrics)),
                body=tuple(
                    (" against ".join(pair), *(words.get((*pair, metric), "") for metric in metrics)) for pair in listed
                ),
                unlisted=len(pairs) - len(listed),
            )


def write_csv(found: Sequence[Crossover], path: Path) -> None:
    """Write a line for every crossing, and one for every pair without; no file where there is no pair."""
    path.unlink(missing_ok=True)
    if found:
        # As objects, sides stay whole numbers where some are empty.
        said = (line for each in found for line in _csv_lines(each))
        lines = as_text(pd.DataFrame(list(said), dtype=object))
        files.put(path, lines.to_csv(index=False, lineterminator="\n"))


def _csv_lines(found: Crossover) -> Iterator[dict[str, object]]:
    pair = {
        "conditions": ", ".join(found.conditions),
        "metric": found.metric,
        "first": found.first,
        "second": found.second,
    }
    whole = {
        "compared_at": " ".join(map(str, found.resolutions)),
        "undecided_at": " ".join(map(str, found.undecided)),
    }
    if not found.crossings:
        outcome = {"outcome": "none" if found.leader else "undecided"} | dict.fromkeys(_OF_CROSSING)
        yield pair | outcome | {"leads_below": found.leader, "leads_above": found.leader} | whole
    for crossing in found.crossings:
        outcome = {"outcome": "certain" if crossing.certain else "perhaps"}
        yield pair | outcome | {name: _cut(getattr(crossing, name)) for name in _OF_CROSSING} | whole


def _cut(value: object) -> object:
    return round(value, 1) if isinstance(value, float) else value
