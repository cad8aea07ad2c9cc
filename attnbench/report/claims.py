"""Claims and their verdicts, for the screen and as a Markdown page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attnbench import inert
from attnbench.claims.answer import Answer
from attnbench.claims.claim import Claim, Take
from attnbench.claims.plan import ClaimPoint, command
from attnbench.claims.verdict import ClaimVerdict, Judgement, holds
from attnbench.devices import names
from attnbench.metrics import is_number
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.record import Cell, Record

_STYLES = {ClaimVerdict.REPRODUCED: "green", ClaimVerdict.DIFFERS: "bold red", ClaimVerdict.NOT_MEASURED: "red"}
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


def table(judgements: Sequence[Judgement]) -> RenderableType:
    """Return the claims for ``Console.print``, a row each, and how many ended how."""
    found = Table(box=None, pad_edge=False, header_style="dim")
    found.add_column("claim", overflow="fold")
    for heading in ("published", "measured", "difference"):
        found.add_column(heading, justify="right", overflow="fold")
    found.add_column("verdict", overflow="fold")
    for one in judgements:
        cells = (one.claim.id, published(one.claim), measured(one), difference(one))
        found.add_row(*map(Text, cells), Text(said(one), style=_STYLES.get(one.verdict, "")))
    return Group(found, Text(), Text(summary(judgements)))


def summary(judgements: Sequence[Judgement]) -> str:
    """Return how many claims ended how, in a line."""
    counts = Counter(one.verdict for one in judgements)
    ended = ", ".join(
        f"{count} {_OF_SEVERAL.get(verdict, verdict) if count > 1 else verdict}"
        for verdict in ClaimVerdict
        if (count := counts[verdict])
    )
    return f"{len(judgements)} claim{'' if len(judgements) == 1 else 's'}: {ended}"


def to_markdown(
    judgements: Sequence[Judgement],
    *,
    command_line: str,
    environments: Mapping[str, Sequence[tuple[str, str]]],
    disturbances: str = "",
    plots: Iterable[Path] = (),
) -> str:
    """Return the page: every claim with what was measured, where, and what would check the rest."""
    parts = [
        "# What the papers claim, measured",
        f"{summary(judgements)}. Made by `{command_line}`, on:",
        *(_pairs(facts) for facts in environments.values()),
        *filter(None, [disturbances]),
        "\n".join(f"- **{verdict}**: {_MEANINGS[verdict]}." for verdict in ClaimVerdict),
        "Figures in brackets are 95 % intervals. An exponent is that of a power law fitted over the sizes.",
    ]
    for mechanism in dict.fromkeys(one.claim.mechanism for one in judgements):
        mine = [one for one in judgements if one.claim.mechanism == mechanism]
        parts += [f"## {mechanism}", _rows(mine), *_pictures(mine, plots), *_ranges(mine), *_elsewhere(mine)]
    return "\n\n".join(parts) + "\n"


def disturbances(records: Sequence[Record]) -> str:
    """Return in how many of the timed cells something disturbed the timing, and what did most often; empty if none."""
    timed = [record for record in records if is_number(record.metrics.get("latency_median_s"))]
    said = [
        str(record.metrics["latency_interference"]) for record in timed if record.metrics.get("latency_interference")
    ]
    if not said:
        return ""
    most, _ = Counter(said).most_common(1)[0]
    return f"Timing was disturbed in {len(said)} of {len(timed)} timed cells, for example by: {inert.markdown(most)}."


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


def said(one: Judgement) -> str:
    """Return the verdict with its reason."""
    return f"{one.verdict}: {'; '.join(one.because)}" if one.because else str(one.verdict)


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
    sizes = f"at {len(factors)} size{'' if len(factors) == 1 else 's'}"
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


def _rows(judgements: Sequence[Judgement]) -> str:
    lines = [
        "| claim | source | published | measured | difference | verdict |",
        "| :--- | :--- | ---: | ---: | ---: | :--- |",
    ]
    for one in judgements:
        claim = one.claim
        conditions = f" ({claim.conditions})" if claim.conditions else ""
        source = f"{claim.source} [{claim.certainty}]"
        verdict, _, why = said(one).partition(":")
        cells = [
            f"{inert.code(claim.id)} {inert.markdown(claim.says + conditions)}",
            *map(inert.markdown, (source, published(claim), measured(one), difference(one))),
            f"**{verdict}**{inert.markdown(f':{why}' if why else '')}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _pictures(judgements: Sequence[Judgement], plots: Iterable[Path]) -> Iterator[str]:
    names = {one.claim.plot for one in judgements if one.claim.plot}
    for path in plots:
        if path.suffix == ".png" and path.stem.rpartition("-")[0] in names:
            yield f"![{path.stem.replace('-', ' ')}]({quote(path.as_posix())})"


def _ranges(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Yield, of claims that take the largest or smallest of many figures, from where to where these go."""
    said = []
    for one in judgements:
        check = one.claim.check
        if one.answer is None or check is None or check.take not in {Take.LARGEST, Take.SMALLEST}:
            continue
        figures = sorted(one.answer.figures, key=lambda figure: figure.estimate.value)
        least, most = figures[0], figures[-1]
        met = sum(holds(one.claim, check, replace(one.answer, estimate=each.estimate)) for each in figures)
        said.append(
            f"- `{one.claim.id}`: from {least.estimate.value:.2f} at {_where(least.point, check.along)} to "
            f"{most.estimate.value:.2f} at {_where(most.point, check.along)}; {met} of {len(figures)} are "
            f"{published(one.claim)}."
        )
    if said:
        yield "\n".join(said)


def _elsewhere(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Yield what would check the claims that this machine cannot, one line for each way."""
    ways: dict[str, list[str]] = {}
    for one in judgements:
        if one.verdict in _ELSEWHERE:
            ways.setdefault(_way(one), []).append(f"`{one.claim.id}`")
    if ways:
        yield "What would check the rest:"
        yield "\n".join(f"- {', '.join(ids)}: {way}" for way, ids in ways.items())


def _way(one: Judgement) -> str:
    claim = one.claim
    if claim.check is not None:
        device = names.PRINTED if claim.hardware else ""
        return f"`{command(claim.check, device=device)}`{f', on a {claim.hardware}' if claim.hardware else ''}"
    if claim.would:
        return inert.markdown(claim.would)
    what = f"training and evaluating on {claim.data}" if claim.data else f"measuring on a {claim.hardware}"
    return inert.markdown(f"{what} with the authors' code; attnbench does not")


def _pairs(facts: Sequence[tuple[str, str]]) -> str:
    rows = [f"| {inert.markdown(name)} | {inert.markdown(value)} |" for name, value in facts]
    return "\n".join(["| | |", "| :--- | :--- |", *rows])
