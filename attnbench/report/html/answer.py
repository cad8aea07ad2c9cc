"""The answer in words: who is best at each resolution, by how much, how sure that is, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from attnbench.metrics import METRICS
from attnbench.report.conclusion import LATENCY, Leads, headline, joined, leads_of
from attnbench.report.html.shipped import ShippedRow, ShippedRows
from attnbench.report.lead import Lead, Row
from attnbench.report.page.blocks import Block, Column, Listing, Page, Paragraph, Piece, Table, Tone, Words
from attnbench.report.sheet import failure_of

_MOST_NAMES, _MOST_LEFT_OUT = 4, 12
_NOBODY = "–"  # noqa: RUF001 - an en dash is what typesetters put into an empty cell
_HOW_SURE = (
    "Certain: the 95 % interval of the ratio of the two latencies lies above 1. Undecided, or level: it holds 1, so "
    "that another run may end the other way round."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnswer:
    """What a reader wants to know first."""

    settings: tuple[tuple[str, Page], ...]
    """For each set of conditions its name, empty for the only one, and who is best."""
    left_out: Page
    """What takes no part, and why; empty if nothing was left out."""


def answer(page: ShippedRows, *, missing: Sequence[str]) -> PageAnswer:
    """Return who is best at each resolution, and what was left out.

    Args:
        page: the rows that are shown.
        missing: cells that were asked for and have no row, in words.
    """
    settings = tuple((name, tuple(_of_setting(by_size))) for name, by_size in _by_setting(page))
    return PageAnswer(settings=settings, left_out=tuple(_left_out(page, missing)))


def _by_setting(page: ShippedRows) -> Iterator[tuple[str, dict[str, list[Row]]]]:
    everything = list(page.findings.rows.itertuples())
    found: dict[int, dict[str, list[Row]]] = {number: {} for number in range(len(page.settings))}
    for row in page.rows:
        found[row.setting].setdefault(row.resolution, []).append(everything[row.place])
    for number, by_size in found.items():
        yield page.settings[number], by_size


def _of_setting(by_size: Mapping[str, Sequence[Row]]) -> Iterator[Block]:
    told = (metric for metric, found in METRICS.items() if found.plot)
    leads = {metric: leads_of(by_size, metric) for metric in sorted(told, key=lambda metric: metric != LATENCY)}
    points = tuple(headline(metric, found, len(by_size)) for metric, found in leads.items() if found)
    yield Listing(points=points) if points else Paragraph("Nothing was measured by which mechanisms could be ranked.")
    if leads[LATENCY]:
        yield _table(leads[LATENCY])
        yield Paragraph(Piece(_HOW_SURE, Tone.FAINT))


def _table(leads: Leads) -> Table:
    headings = ("resolution", "fastest", "latency", "next, for certain", "takes times as long", "how sure")
    rows = tuple(
        (
            size,
            Piece(one.best, Tone.STRONG),
            one.value,
            one.following or _NOBODY,
            one.factor or _NOBODY,
            _how_sure(one),
        )
        for size, one in leads.items()
    )
    return Table(columns=tuple(Column(heading=heading) for heading in headings), rows=rows)


def _how_sure(one: Lead) -> Words:
    if one.level:
        names = [
            *one.level[:_MOST_NAMES],
            *([f"{len(one.level) - _MOST_NAMES} more"] if one.level[_MOST_NAMES:] else []),
        ]
        return (Piece("undecided", Tone.DOUBTFUL), f" against {joined(names)}")
    if not one.following:
        return "no other was ranked"
    return Piece("certain", Tone.GOOD)


def _left_out(page: ShippedRows, missing: Sequence[str]) -> Iterator[Block]:
    """Yield what takes no part in the answer: cells that failed or are doubted, by reason, and those without a row."""
    by_reason: dict[tuple[str, str], list[ShippedRow]] = {}
    everything: list[Row] = list(page.findings.rows.itertuples())
    for row in page.rows:
        own = everything[row.place]
        doubt = f"not ranked: {own.suspicious}" if own.suspicious else ""
        why = failure_of(own) or doubt
        if why:
            by_reason.setdefault((own.label, why), []).append(row)
    points: list[Words] = [
        (Piece(label, Tone.STRONG), f" at {_where(found, page)}: {why}") for (label, why), found in by_reason.items()
    ]
    if len(points) > _MOST_LEFT_OUT:
        points[_MOST_LEFT_OUT:] = [f"and {len(points) - _MOST_LEFT_OUT} more, in the table"]
    points += [f"{len(missing)} cells that were asked for were not reached and have no row"] if missing else []
    points += [page.left_out] if page.left_out else []
    if points:
        yield Listing(points=tuple(points))


def _where(rows: Sequence[ShippedRow], page: ShippedRows) -> str:
    """Return at which resolutions, and in how many sets of conditions if not in all of them."""
    sizes = joined([*dict.fromkeys(row.resolution for row in rows)])
    settings = dict.fromkeys(row.setting for row in rows)
    if len(settings) == len(page.settings):
        return sizes
    if len(settings) == 1:
        return f"{sizes}, {page.settings[next(iter(settings))]}"
    return f"{sizes}, in {len(settings)} of {len(page.settings)} sets of conditions"
