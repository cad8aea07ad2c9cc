"""Which rows a page holds: all of most runs, of very large ones the first sets of conditions, which is said.

The table lists the first sets of conditions; scripts make a line of any other row when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from attnbench.report.comparison import apart, comparisons, resolution, varying
from attnbench.report.findings import Findings
from attnbench.report.page.blocks import Line

MOST_ROWS = 10_000
"""What keeps the file small enough to send, and the page quick."""
MOST_LISTED = 1_500
"""Lines of the table in the file: what a browser sets at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedRow:
    """A row of the page's table."""

    place: int
    """In the frame of the page."""
    height: int
    width: int
    setting: int
    """Place of its set of conditions."""
    line: Line
    listed: bool
    """Whether the file has its line of the table."""

    @property
    def resolution(self) -> str:
        """The size of its images as people write it."""
        return resolution(self.height, self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedRows:
    """What of a report is on the page."""

    findings: Findings
    """Of the rows that are there."""
    rows: tuple[ShippedRow, ...]
    """In the order of the tables."""
    settings: tuple[str, ...]
    """Sets of conditions in words, empty for the only one."""
    firsts: tuple[int, ...]
    """Place of a row of each."""
    left_out: str
    """What of the rows is not there, in words; empty if all are."""


def shipped(findings: Findings) -> ShippedRows:
    """Return the rows of a page, whole sets of conditions as long as they fit, and of the first one what fits."""
    rows = findings.rows
    taken: list[int] = []
    settings = apart(rows, varying(rows))
    for number, (_, places) in enumerate(settings):
        if number and len(taken) + len(places) > MOST_ROWS:
            break
        taken += places[:MOST_ROWS].tolist()
    held = findings
    if len(taken) < len(rows):
        kept = rows.iloc[np.sort(taken)].reset_index(drop=True)
        environments = set(kept["environment_id"])
        held = Findings(
            rows=kept,
            environments={key: lines for key, lines in findings.environments.items() if key in environments},
        )
    parts = apart(held.rows, varying(held.rows))
    names = tuple(", ".join(said) for said, _ in parts)
    return ShippedRows(
        findings=held,
        rows=tuple(_rows(held, [places.tolist() for _, places in parts])),
        settings=names,
        firsts=tuple(int(places[0]) for _, places in parts),
        left_out=_told(len(held.rows), len(rows), len(names), len(settings)),
    )


def _rows(findings: Findings, settings: Sequence[Sequence[int]]) -> Iterator[ShippedRow]:
    placed = {place: number for number, places in enumerate(settings) for place in places}
    until = accumulate(map(len, settings))
    listed = {number for number, rows in enumerate(until) if rows <= MOST_LISTED}
    room = 0 if listed else MOST_LISTED  # of a first set that is too large itself
    for part, sheet in zip(comparisons(findings.rows), findings.book.sheets, strict=True):
        for place, line in zip(part.places.tolist(), sheet.lines, strict=True):
            room -= placed[place] == 0
            yield ShippedRow(
                place=place,
                height=part.height,
                width=part.width,
                setting=placed[place],
                line=line,
                listed=placed[place] in listed or (placed[place] == 0 and room >= 0),
            )


def _told(kept: int, rows: int, settings: int, of: int) -> str:
    if kept == rows:
        return ""
    return (
        f"This page holds {kept:,} of {rows:,} rows, in {settings:,} of {of:,} sets of conditions, the first ones. "
        "All rows are in report.md and records.csv."
    )
