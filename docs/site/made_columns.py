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
    for group, meanings in groupby(sorted(MEANINGS.values(), key=_place), key=lambda meaning: meaning.group):
        heading = _SHOWN.get(group, group.capitalize())
        made += [f"## {heading}", "", "| column | unit | better | what it says |", "|---|---|---|---|"]
        for each in meanings:
            made.append(f"| `{each.name}` | {each.unit} | {each.better} | {inert.markdown(each.says)} |")
        made.append("")
    return "\n".join(made)


def _place(meaning: object) -> int:
    groups = list(dict.fromkeys(each.group for each in MEANINGS.values()))
    return groups.index(getattr(meaning, "group", ""))
