"""The answer in words: who is best at each resolution, by how much, how sure that is, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from attnbench.metrics import METRICS, Better
from attnbench.report.html.lead import Lead, Row, lead
from attnbench.report.html.shipped import ShippedRows
from attnbench.report.page.blocks import Block, Column, Listing, Page, Paragraph, Piece, Table, Tone, Words
from attnbench.report.sheet import failure_of

_LATENCY = "latency_median_s"
_MOST_NAMES, _MOST_LEFT_OUT = 4, 12
_NOBODY = "–"  # noqa: RUF001 - an en dash is what typesetters put into an empty cell
_HOW_SURE = (
    "Certain: the 95 % interval of the ratio of the two latencies lies above 1. Undecided, or level: it holds 1, so "
    "that another run may end the other way round."
)

Leads = Mapping[str, Lead]
"""By resolution, the fewest pixels first."""


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
    leads = {metric: _leads(by_size, metric) for metric in sorted(told, key=lambda metric: metric != _LATENCY)}
    points = tuple(_headline(metric, found, len(by_size)) for metric, found in leads.items() if found)
    yield Listing(points=points) if points else Paragraph("Nothing was measured by which mechanisms could be ranked.")
    if leads[_LATENCY]:
        yield _table(leads[_LATENCY])
        yield Paragraph(Piece(_HOW_SURE, Tone.FAINT))


def _leads(by_size: Mapping[str, Sequence[Row]], metric: str) -> Leads:
    found = {size: lead(rows, metric) for size, rows in by_size.items()}
    return {size: one for size, one in found.items() if one}


def _headline(metric: str, leads: Leads, sizes: int) -> Words:
    """Return who leads where, in a sentence: qna at 224 and 512; hmhsa and qna, level, at 1024."""
    which = "Highest" if METRICS[metric].better is Better.HIGHER else "Lowest"
    words: list[str | Piece] = [f"{which} {METRICS[metric].label.partition(' (')[0]}: "]
    stretches = [
        (names, [size for size, _ in same]) for names, same in groupby(leads.items(), lambda one: one[1].names)
    ]
    for place, (names, where) in enumerate(stretches):
        everywhere = len(where) == sizes and sizes > 1
        words += ["; "] if place else []
        words += _named(names)
        words.append(" at every resolution" if everywhere else f" at {_joined(where)}")
    return (*words, ".")


def _named(names: Sequence[str]) -> Iterator[str | Piece]:
    shown = names[:_MOST_NAMES] if len(names) > _MOST_NAMES + 1 else names
    more = len(names) - len(shown)
    for place, name in enumerate(shown):
        last = place == len(shown) - 1 and not more
        yield from ([" and " if last else ", "] if place else [])
        yield Piece(name, Tone.STRONG)
    if more:
        yield f" and {more} more"
    if len(names) > 1:
        yield ", level,"


def _joined(words: Sequence[str]) -> str:
    if len(words) > _MOST_NAMES:
        return f"{words[0]} to {words[-1]}"
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


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
        return (Piece("undecided", Tone.DOUBTFUL), f" against {_joined(names)}")
    if not one.following:
        return "no other was ranked"
    return Piece("certain", Tone.GOOD)


def _left_out(page: ShippedRows, missing: Sequence[str]) -> Iterator[Block]:
    """Yield what takes no part in the answer: cells that failed or are doubted, by reason, and those without a row."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    everything: list[Row] = list(page.findings.rows.itertuples())
    for row in page.rows:
        own = everything[row.place]
        doubt = f"not ranked: {own.suspicious}" if own.suspicious else ""
        why = failure_of(own) or doubt
        if why:
            by_reason.setdefault((own.label, why), []).append(row.resolution)
    points: list[Words] = [
        (Piece(label, Tone.STRONG), f" at {_joined([*dict.fromkeys(where)])}: {why}")
        for (label, why), where in by_reason.items()
    ]
    if len(points) > _MOST_LEFT_OUT:
        points[_MOST_LEFT_OUT:] = [f"and {len(points) - _MOST_LEFT_OUT} more, in the table"]
    points += [f"{len(missing)} cells that were asked for were not reached and have no row"] if missing else []
    points += [page.left_out] if page.left_out else []
    if points:
        yield Listing(points=tuple(points))
