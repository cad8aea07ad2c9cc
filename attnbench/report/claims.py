"""Claims and their verdicts: in short for a screen, in full for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attnbench.claims.answer import Answer
from attnbench.claims.claim import Claim, Take
from attnbench.claims.plan import ClaimPoint, command
from attnbench.claims.verdict import ClaimVerdict, Judgement, holds
from attnbench.devices import names
from attnbench.metrics import is_number
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.record import Cell, Record
from attnbench.report.environments import Lines
from attnbench.report.machines import machines
from attnbench.report.page.blocks import (
    Align,
    Block,
    Column,
    Heading,
    Listing,
    Page,
    Paragraph,
    Picture,
    Piece,
    Table,
    Tone,
    Words,
)
from attnbench.wording import number_of

_TONES = {
    ClaimVerdict.REPRODUCED: Tone.GOOD,
    ClaimVerdict.DIFFERS: Tone.BAD,
    ClaimVerdict.NOT_MEASURED: Tone.BAD,
}
_FIGURES = ("published", "measured", "difference")
_ELSEWHERE = (ClaimVerdict.NEEDS_GPU, ClaimVerdict.NEEDS_DATA)
_OF_SEVERAL = {
    ClaimVerdict.DIFFERS: "differ",
    ClaimVerdict.NEEDS_GPU: "need a GPU",
    ClaimVerdict.NEEDS_DATA: "need their data set",
}
_READ_AS_FACTOR = 1.0
"""From twice the figure stated, a difference is printed as a factor."""
_MEANINGS = {
    ClaimVerdict.REPRODUCED: "what was measured, or its interval, rounds to the figure stated; a formula is right to "
    "1 % at every size",
    ClaimVerdict.DIFFERS: "it does not; a reason is given where measuring accordingly gives the figure stated to 1 %",
    ClaimVerdict.NEEDS_GPU: "the figure holds for a GPU that is not here; a ratio is measured here all the same",
    ClaimVerdict.NEEDS_DATA: "the figure depends on images or weights that are not here",
    ClaimVerdict.UNSTATED: "the source leaves out what one would have to know; what was measured stands beside it",
    ClaimVerdict.NOT_MEASURED: "the measurement failed, or was not asked for",
}


def brief(judgements: Sequence[Judgement]) -> Page:
    """Return the claims, a row each, and how many ended how."""
    rows = ((one.claim.id, published(one.claim), measured(one), difference(one), said(one)) for one in judgements)
    return _table(("claim", *_FIGURES, "verdict"), rows), Paragraph(summary(judgements))


def summary(judgements: Sequence[Judgement]) -> str:
    """Return how many claims ended how, in a line."""
    counts = Counter(one.verdict for one in judgements)
    ended = ", ".join(
        f"{count} {_OF_SEVERAL.get(verdict, verdict) if count > 1 else verdict}"
        for verdict in ClaimVerdict
        if (count := counts[verdict])
    )
    return f"{number_of(len(judgements), 'claim')}: {ended}"


def page(
    judgements: Sequence[Judgement],
    *,
    command_line: str,
    environments: Mapping[str, Lines],
    disturbances: str = "",
    plots: Iterable[Path] = (),
) -> Page:
    """Return the page: every claim with what was measured, what would check the rest, and where it was measured."""
    return (
        Heading(text="What the papers claim, measured", level=1),
        Paragraph((f"{summary(judgements)}. Made by ", Piece(command_line, Tone.CODE), ".")),
        *([Paragraph(disturbances)] if disturbances else []),
        Listing(points=tuple((Piece(verdict, Tone.STRONG), f": {_MEANINGS[verdict]}.") for verdict in ClaimVerdict)),
        Paragraph("Figures in brackets are 95 % intervals. An exponent is that of a power law fitted over the sizes."),
        *(block for mechanism in _mechanisms(judgements) for block in _section(mechanism, judgements, plots)),
        *machines(environments),
    )


def _mechanisms(judgements: Sequence[Judgement]) -> Iterable[str]:
    return dict.fromkeys(one.claim.mechanism for one in judgements)


def _section(mechanism: str, judgements: Sequence[Judgement], plots: Iterable[Path]) -> Iterator[Block]:
    mine = [one for one in judgements if one.claim.mechanism == mechanism]
    yield Heading(text=mechanism)
    yield _rows(mine)
    yield from _pictures(mine, plots)
    yield from _ranges(mine)
    yield from _elsewhere(mine)


def disturbances(records: Sequence[Record]) -> str:
    """Return in how many of the timed cells something disturbed the timing, and what did most often; empty if none."""
    timed = [record for record in records if is_number(record.metrics.get("latency_median_s"))]
    said = [
        str(record.metrics["latency_interference"]) for record in timed if record.metrics.get("latency_interference")
    ]
    if not said:
        return ""
    most, _ = Counter(said).most_common(1)[0]
    return f"Timing was disturbed in {len(said)} of {len(timed)} timed cells, for example by: {most}."


def published(claim: Claim) -> str:
    """Return the figure as stated, with its unit."""
    relation = "" if claim.relation == "equal" else f"{claim.relation} "
    return f"{relation}{claim.value} {claim.unit}".rstrip()


def measured(one: Judgement) -> str:
    """Return what was measured in the claim's unit, with its interval and where it was taken; empty if nothing was."""
    if one.answer is None or one.measured is None:
        return ""
    check = one.claim.check
    assert check is not None
    if check.formula:
        return _growth(one.answer) if check.take is Take.EXPONENT else _against_formula(one.answer)
    figure = _number(one)
    if check.take is Take.EXPONENT:
        return f"exponent {figure}"
    where = _where(one.answer.where, check.along) if check.take is not Take.VALUE else ""
    return f"{figure} {one.claim.unit}".rstrip() + (f" at {where}" if where else "")


def difference(one: Judgement) -> str:
    """Return by how much measured and stated differ."""
    if one.difference is None:
        return ""
    return f"{one.difference:+.1%}" if one.difference < _READ_AS_FACTOR else f"{1 + one.difference:.3g} x"


def said(one: Judgement) -> Words:
    """Return the verdict with its reason."""
    verdict = Piece(one.verdict, _TONES.get(one.verdict, Tone.STRONG))
    return (verdict, f": {'; '.join(one.because)}") if one.because else verdict


def _number(one: Judgement) -> str:
    assert one.measured is not None
    stated = one.claim.value
    decimals = 2 if isinstance(stated, str) else max(1 - int(stated.as_tuple().exponent), 2 * (one.claim.unit == "x"))
    value, low, high = (
        f"{number:.{decimals}f}" for number in (one.measured.value, one.measured.low, one.measured.high)
    )
    return value if one.measured.low == one.measured.high else f"{value} [{low}, {high}]"


def _against_formula(answer: Answer) -> str:
    """Return how many times the formula was measured, at the size where it fits best and where it fits worst."""
    factors = sorted(figure.estimate.value / figure.formula for figure in answer.figures if figure.formula)
    ends = list(dict.fromkeys(f"{factor:.4g}" for factor in (factors[0], factors[-1]))) if factors else []
    sizes = f"at {number_of(len(factors), 'size')}"
    return f"{' to '.join(ends)} times the formula {sizes}" if ends else ""


def _growth(answer: Answer) -> str:
    found = answer.estimate
    return (
        f"grows as N^{found.value:.3f} [{found.low:.3f}, {found.high:.3f}], the formula as "
        f"N^{answer.formula_exponent:.3f}"
    )


def tokens(cell: Cell) -> str:
    """Return the map of a layer as tokens down by tokens across."""
    stride = SWIN_T_SIZED.stride(cell.stage - 1)
    return f"{-(-cell.height // stride)} x {-(-cell.width // stride)}"


def _where(point: ClaimPoint | None, along: str) -> str:
    if point is None:
        return ""
    cell = point.of
    place = [f"{tokens(cell)} tokens", f"C {cell.dim}"] if cell.stage else [f"{cell.height} pixels"]
    return ", ".join(filter(None, [f"{along}={point.at}" if along else "", *place, cell.mode.value]))


def _rows(judgements: Sequence[Judgement]) -> Table:
    return _table(("claim", "source", *_FIGURES, "verdict"), map(_row, judgements))


def _row(one: Judgement) -> tuple[Words, ...]:
    claim = one.claim
    says = f"{claim.says} ({claim.conditions})" if claim.conditions else claim.says
    source = f"{claim.source} [{claim.certainty}]"
    return (
        (Piece(claim.id, Tone.CODE), f" {says}"),
        source,
        published(claim),
        measured(one),
        difference(one),
        said(one),
    )


def _table(headings: Sequence[str], rows: Iterable[tuple[Words, ...]]) -> Table:
    columns = (
        Column(heading=heading, align=Align.RIGHT if heading in _FIGURES else Align.LEFT) for heading in headings
    )
    return Table(columns=tuple(columns), rows=tuple(rows))


def _pictures(judgements: Sequence[Judgement], plots: Iterable[Path]) -> Iterator[Picture]:
    names = {one.claim.plot for one in judgements if one.claim.plot}
    for path in plots:
        if path.suffix == ".png" and path.stem.rpartition("-")[0] in names:
            yield Picture(path=path, caption=path.stem.replace("-", " "))


def _ranges(judgements: Sequence[Judgement]) -> Iterator[Listing]:
    """Yield, of claims that take the largest or smallest of many figures, from where to where these go."""
    found = tuple(said for one in judgements for said in _range(one))
    if found:
        yield Listing(points=found)


def _range(one: Judgement) -> Iterator[Words]:
    check = one.claim.check
    if one.answer is None or check is None or check.take not in {Take.LARGEST, Take.SMALLEST}:
        return
    figures = sorted(one.answer.figures, key=lambda figure: figure.estimate.value)
    least, most = figures[0], figures[-1]
    met = sum(holds(one.claim, check, replace(one.answer, estimate=each.estimate)) for each in figures)
    said = (
        f": from {least.estimate.value:.2f} at {_where(least.point, check.along)} to "
        f"{most.estimate.value:.2f} at {_where(most.point, check.along)}; {met} of {len(figures)} are "
        f"{published(one.claim)}."
    )
    yield Piece(one.claim.id, Tone.CODE), said


def _elsewhere(judgements: Sequence[Judgement]) -> Iterator[Block]:
    """Yield what would check the claims that this machine cannot, one line for each way."""
    ways: dict[tuple[str | Piece, ...], list[str]] = {}
    for one in judgements:
        if one.verdict in _ELSEWHERE:
            ways.setdefault(_way(one), []).append(one.claim.id)
    if ways:
        yield Paragraph("What would check the rest:")
        yield Listing(points=tuple((*_codes(ids), ": ", *way) for way, ids in ways.items()))


def _codes(names: Sequence[str]) -> Iterator[str | Piece]:
    for place, name in enumerate(names):
        yield from [", "] if place else []
        yield Piece(name, Tone.CODE)


def _way(one: Judgement) -> tuple[str | Piece, ...]:
    claim = one.claim
    if claim.check is not None:
        typed = Piece(command(claim.check, device=names.PRINTED if claim.hardware else ""), Tone.CODE)
        return (typed, f", on a {claim.hardware}") if claim.hardware else (typed,)
    if claim.would:
        return (claim.would,)
    what = f"training and evaluating on {claim.data}" if claim.data else f"measuring on a {claim.hardware}"
    return (f"{what} with the authors' code; attnbench does not",)
