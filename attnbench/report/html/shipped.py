"""Which rows a page holds: all of most runs, of very large ones the first sets of conditions, which is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from attnbench.report.comparison import apart, comparisons, resolution, varying
from attnbench.report.findings import Findings
from attnbench.report.page.blocks import Line

MOST_ROWS = 1_500
"""What a browser sorts and draws at once, and what keeps the file small enough to send."""


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
    names, placed = _settings(held)
    return ShippedRows(
        findings=held,
        rows=tuple(_rows(held, placed)),
        settings=names,
        left_out=_told(len(held.rows), len(rows), len(names), len(settings)),
    )


def _settings(findings: Findings) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return sets of conditions in words, and which of them each row has."""
    found = apart(findings.rows, varying(findings.rows))
    placed = {place: number for number, (_, places) in enumerate(found) for place in places.tolist()}
    return tuple(", ".join(said) for said, _ in found), placed


def _rows(findings: Findings, placed: dict[int, int]) -> Iterator[ShippedRow]:
    for part, sheet in zip(comparisons(findings.rows), findings.book.sheets, strict=True):
        for place, line in zip(part.places.tolist(), sheet.lines, strict=True):
            yield ShippedRow(place=place, height=part.height, width=part.width, setting=placed[place], line=line)


def _told(kept: int, rows: int, settings: int, of: int) -> str:
    if kept == rows:
        return ""
    return (
        f"This page holds {kept:,} of {rows:,} rows, in {settings:,} of {of:,} sets of conditions, the first ones. "
        "All rows are in report.md and records.csv."
    )
