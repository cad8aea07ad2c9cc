"""The tables of every column of ``records.csv``, made of what the code says of them."""

from __future__ import annotations

from itertools import groupby

from attnbench import inert
from attnbench.report.columns import MEANINGS

_SHOWN = {
    "counts": "Counted: known of every cell that can be built",
    "memory": "Memory: known from `--until memory` on",
    "latency": "Latency: known where a cell was timed",
    "energy": "Energy: known with `--energy`",
    "accuracy": "Accuracy: known with `--accuracy`",
}
"""Headings of the groups whose names alone would not say it."""


def columns() -> str:
    """Return a table for each group of columns, as Markdown."""
    made: list[str] = []
    for group, grouped in groupby(sorted(MEANINGS.values(), key=_place), key=lambda meaning: meaning.group):
        meanings = list(grouped)
        shown = [name for name in ("unit", "better") if any(getattr(each, name) for each in meanings)]
        heading = _SHOWN.get(group, group.capitalize())
        headings = ["column", *shown, "what it says"]
        made += [f"## {heading}", "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
        for each in meanings:
            cells = [f"`{each.name}`", *(getattr(each, name) for name in shown), inert.markdown(each.says)]
            made.append(f"| {' | '.join(cells)} |")
        made.append("")
    return "\n".join(made)


def _place(meaning: object) -> int:
    groups = list(dict.fromkeys(each.group for each in MEANINGS.values()))
    return groups.index(getattr(meaning, "group", ""))
