"""Fields as a table for people and as rows for programs. Imports no torch."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.probes.interval import mean_interval
from attnbench.report.page.blocks import Align, Column, Page, Paragraph, Piece, Table, Tone

if TYPE_CHECKING:
    from attnbench.reach.asking import NetworkReach

WINDOW = 7
"""Tokens along a side of the window that influence is counted beyond, where none is asked for."""
FIGURES: Mapping[str, str] = {
    "beyond_window": "share of the influence beyond a window around the token",
    "area_above": "part of the pixels with more than 4.55 % of the largest influence",
    "area_half": "smallest part of the pixels that holds half of the influence",
    "area_99": "smallest part of the pixels that holds 99 % of it",
    "elongation": "how many times as far it spreads in its longest direction as across it",
    "axial": "share of what lies beyond the token that is nearer to its row or column than to a diagonal",
}
"""What is said of a field, each a mean over seeds."""


_HEADINGS = ("above", "half in", "99 % in", "axial", "elongation")
_MEANING = (
    "Influence of pixels on the token in the middle of a stage's map, the size of the gradient of its output over the "
    "image: means over images and seeds, with a 95 % interval over seeds. beyond: share outside a window of so many "
    "tokens a side; above: pixels with more than 4.55 % of the largest; half in, 99 % in: the fewest pixels that hold "
    "as much; axial: nearer to row or column than a diagonal, 50 if alike; in %. elongation: spread along over across."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachRow:
    """What is said of one stage of one network, or why nothing is."""

    name: str
    state: str
    stage: int
    stride: int
    figures: Mapping[str, tuple[float, ...]]
    """Each seed's own, by name."""
    failure: str = ""


def rows(found: Sequence[NetworkReach], *, window: int) -> Iterator[ReachRow]:
    """Yield the rows of fields.

    Args:
        found: fields.
        window: tokens along a side of the window that influence is counted beyond.
    """
    for one in found:
        if one.failure:
            yield ReachRow(name=one.name, state=one.state, stage=0, stride=0, figures={}, failure=one.failure)
            continue
        for place, first in enumerate(one.seeds[0]):
            fields = [seed[place].influence for seed in one.seeds]
            yield ReachRow(
                name=one.name,
                state=one.state,
                stage=first.stage,
                stride=first.influence.stride,
                figures={
                    "beyond_window": tuple(each.beyond(window * each.stride) for each in fields),
                    "area_above": tuple(each.area_above for each in fields),
                    "area_half": tuple(each.area_of(0.5) for each in fields),
                    "area_99": tuple(each.area_of(0.99) for each in fields),
                    "elongation": tuple(each.elongation for each in fields),
                    "axial": tuple(each.axial for each in fields),
                },
            )


def page(found: Sequence[ReachRow], *, window: int) -> Page:
    """Return the table, with what its columns are."""
    both = len({row.state for row in found if not row.failure}) > 1
    headings = ("stage", f"beyond {window}", *_HEADINGS)
    columns = [
        *(Column(heading=each) for each in ("", "state") if both or not each),
        *(Column(heading=each, align=Align.RIGHT, unbroken=True) for each in headings),
    ]
    table = Table(columns=tuple(columns), rows=tuple(_entries(row, both) for row in found if not row.failure))
    failed = [Paragraph(Piece(f"{row.name}: {row.failure}", Tone.BAD)) for row in found if row.failure]
    shown = (table,) if table.rows else ()
    return (*shown, *failed, Paragraph(Piece(_MEANING, Tone.FAINT)))


def text(found: Sequence[ReachRow]) -> str:
    """Return the rows as CSV, fractions as fractions, ends of intervals empty for a single seed."""
    names = [f"{name}{end}" for name in FIGURES for end in ("", "_ci_low", "_ci_high")]
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["name", "state", "stage", "stride_pixels", "seeds", *names, "failure"])
    for row in found:
        each = [_ends(row.figures[name]) if row.figures else ("", "", "") for name in FIGURES]
        seeds = len(next(iter(row.figures.values()), ()))
        figures = [f"{value:.6g}" if isinstance(value, float) else value for three in each for value in three]
        writer.writerow(
            [_plain(row.name), row.state, row.stage or "", row.stride or "", seeds, *figures, _plain(row.failure)]
        )
    return content.getvalue()


def _plain(words: str) -> str:
    """Return words as a cell that no spreadsheet takes for a formula."""
    from attnbench import inert  # noqa: PLC0415

    return inert.line(f"'{words}" if words[:1] in {"=", "+", "-", "@"} else words)


def _ends(values: Sequence[float]) -> tuple[float | str, float | str, float | str]:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, "", ""
    found = mean_interval(values)
    return mean, max(0.0, found.low), found.high


def _entries(row: ReachRow, with_state: bool) -> tuple[str, ...]:
    mean = {name: statistics.fmean(values) for name, values in row.figures.items()}
    percent = [f"{100 * mean[name]:.1f}" for name in ("area_above", "area_half", "area_99", "axial")]
    who = (row.name, row.state) if with_state else (row.name,)
    return (*who, str(row.stage), _percent(row.figures["beyond_window"]), *percent, f"{mean['elongation']:.2f}")


def _percent(values: Sequence[float]) -> str:
    mean, low, high = _ends(values)
    assert isinstance(mean, float)
    if isinstance(low, str) or isinstance(high, str):
        return f"{100 * mean:.1f}"
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * min(1.0, high):.1f}]"
