"""What a run shows on the screen at its end: its tables, or the first of very many, and who overtakes the baseline."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from attnbench.report.conclusion import conclusion
from attnbench.report.crossover import Crossover
from attnbench.report.excerpt import excerpt
from attnbench.report.findings import Findings
from attnbench.report.overview import overview
from attnbench.report.page.blocks import Block, Heading, Listing, Page, Paragraph, Piece, Tone

_LATENCY = "latency_median_s"
_MOST_LINES = 8
_MOST_NAMES = 20


def tables(findings: Findings) -> Page:
    """Return the tables: one for each resolution and set of conditions, of very many one for all resolutions."""
    same = ", ".join(findings.constants)
    shown = overview(findings) or (excerpt(findings.book),)
    return (*([Paragraph(Piece(same, Tone.STRONG))] if same else []), *shown)


def summary(findings: Findings) -> Page:
    """Return the conclusion, the tables, and how latencies stand to the baseline's over resolution."""
    return (
        *conclusion(findings.rows),
        *tables(findings),
        *crossed(findings.crossovers, findings.baselines),
    )


def crossed(found: Iterable[Crossover], baselines: Collection[str]) -> Iterator[Block]:
    """Yield how latencies stand to the baseline's in a few lines, if they stand to any.

    Who crosses the baseline's comes first, and of whom the same is to be said share a line.
    """
    of_latency = [one for one in found if one.metric == _LATENCY and one.second in baselines]
    said: dict[str, list[str]] = {}
    for each in sorted(of_latency, key=lambda one: not one.certain):
        said.setdefault(f"against {', '.join([each.second, *each.conditions])}: {each.words}", []).append(each.first)
    lines = [f"{_few(names)} {words}" for words, names in said.items()]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more in report.md"]
    if lines:
        yield Heading(text="Crossovers of latency, in pixels a side", level=3)
        yield Listing(points=tuple(Piece(line, Tone.FAINT) for line in lines))


def _few(names: Sequence[str]) -> str:
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return ", ".join([*names[:_MOST_NAMES], *more])
