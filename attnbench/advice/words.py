"""An answer as a page: the choice first, then what it rests on, what would change it, and what was left out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from attnbench.advice.choice import Advice, Contender, Keeps, Sure
from attnbench.advice.question import Question, name_of
from attnbench.metrics import METRICS, Better
from attnbench.plan.sweep import again
from attnbench.record import Cell
from attnbench.report.page.blocks import Block, Code, Heading, Listing, Page, Paragraph, Piece, Tone

_MOST_LEFT_OUT, _MOST_OVER = 8, 3
_TIMES, _FINE = 10, 10
"""From how many times a limit on that is said, not in percent; and percents that need no digit behind the point."""


def told(answers: Sequence[Advice]) -> list[Advice]:
    """Return the answers that are shown: those that say something, else the first."""
    return [one for one in answers if one.says_something] or list(answers[:1])


def command(answers: Sequence[Advice], cells: Mapping[str, Cell], question: Question) -> str:
    """Return what to type to measure what the answers name at the resolution that is asked for, a line each scene.

    Empty if all of that was measured there. Where nobody is named, all that was looked at first is meant.

    Args:
        answers: one for each set of conditions.
        cells: those that were measured, by key.
        question: what was asked.
    """
    shown = told(answers)
    named = [one.keys[each.label] for one in shown for each in one.taken if _is_read_off(each)]
    if not named and not any(one.taken for one in shown):
        named = [key for one in shown[:1] for key in one.keys.values()]
    grouped: dict[tuple[str, ...], list[str]] = {}
    for key in dict.fromkeys(named):
        there = again(replace(cells[key], height=question.height, width=question.width))
        _, _, kind, spec, *rest = shlex.split(there)
        grouped.setdefault((kind, *rest), []).append(spec)
    return "\n".join(
        shlex.join(["attnbench", "run", kind, ",".join(specs), *rest]) for (kind, *rest), specs in grouped.items()
    )


def _is_read_off(one: Contender) -> bool:
    return any(each.between for each in one.figures.values())


def page(answers: Sequence[Advice], question: Question, *, constants: Sequence[str], commands: str) -> Page:
    """Return answers in words.

    Args:
        answers: one for each set of conditions.
        question: what was asked.
        constants: what all rows have in common, in phrases.
        commands: what ``command`` returns.
    """
    shown = told(answers)
    silent = len(answers) - len(shown)
    blocks: list[Block] = [
        Paragraph((Piece(f"{question.words}. ", Tone.STRONG), Piece(", ".join(constants), Tone.FAINT))),
        *(block for one in shown for block in _answer(one, question)),
    ]
    if silent:
        more = f"Under {silent} other sets of conditions nothing is known at that resolution."
        blocks.append(Paragraph(Piece(more, Tone.FAINT)))
    blocks += [Paragraph(Piece(each, Tone.FAINT)) for each in unpriced(answers, question)]
    if commands:
        blocks += [Paragraph(Piece("To measure it there:", Tone.FAINT)), Code(text=commands, language="sh")]
    return tuple(blocks)


def unpriced(answers: Sequence[Advice], question: Question) -> Iterator[str]:
    """Yield, for each price that no row of the answers is of, that it is not."""
    taken = [each for one in answers for each in one.taken]
    for price in question.prices if taken else ():
        if not any(price.machine in each.dollars for each in taken):
            hardware = f"hardware whose name has {price.machine!r}"
            yield f"No model here was timed on {hardware} (a layer is no model): that price tells nothing of these."


def _answer(advice: Advice, question: Question) -> Iterator[Block]:
    if advice.conditions:
        yield Heading(text=", ".join(advice.conditions), level=3)
    yield from _choice(advice, question)
    if advice.changes:
        yield Paragraph("What would change the answer:")
        yield Listing(points=advice.changes)
    if advice.left_out:
        names = list(advice.left_out.items())
        more = [f"and {len(names) - _MOST_LEFT_OUT} more"] if len(names) > _MOST_LEFT_OUT else []
        named = ((Piece(label, Tone.STRONG), f": {why}") for label, why in names[:_MOST_LEFT_OUT])
        yield Paragraph("Left out:")
        yield Listing(points=(*named, *more))


def _choice(advice: Advice, question: Question) -> Iterator[Block]:
    best, following = advice.choice, advice.runner_up
    if best is None:
        yield Paragraph((Piece("None fits. ", Tone.BAD), *_nearest(advice)))
        return
    perhaps = [
        name_of(limit.metric)
        for limit, kept in zip(question.limits, best.kept, strict=True)
        if kept is Keeps.AS_MEASURED
    ]
    past = f" Its 95 % interval reaches past the limit of {' and '.join(perhaps)}: that it fits is not certain."
    fits = past if perhaps else _fits(best, question)
    yield Paragraph(("Take ", Piece(best.label, Tone.GOOD), f": {_told(best, question)}.", fits))
    if following is not None:
        named = Piece(following.label, Tone.STRONG)
        yield Paragraph(("Runner-up: ", named, f", {_told(following, question)}; ", *_order(advice, question)))
    if advice.over:
        yield Paragraph(("No other fits: " if following is None else "Beyond a limit: ", *_over(advice.over, question)))
    elif following is None:
        yield Paragraph("Nothing else is known there.")


def _fits(best: Contender, question: Question) -> str:
    """Return how sure it is that a choice keeps every limit, where its intervals do."""
    limited = [best.figures[limit.metric] for limit in question.limits]
    blind = [name_of(each.metric) for each in limited if METRICS[each.metric].ends and each.low == each.high]
    if blind:
        return f" That it fits is not certain: {' and '.join(blind)} has no interval."
    if any(each.between for each in limited):
        return " That it fits is likely, by its curve."
    return " That it fits is certain." if limited else ""


def _over(over: Sequence[Contender], question: Question) -> Iterator[str | Piece]:
    """Yield who keeps a limit not, or is not known to, with the figure that says so."""
    for place, one in enumerate(over[:_MOST_OVER]):
        missed = [limit.metric for limit, kept in zip(question.limits, one.kept, strict=True) if not kept.fits]
        figures = (
            f"{name_of(name)} {one.figures[name].words if name in one.figures else 'not known'}" for name in missed
        )
        yield Piece(one.label, Tone.STRONG)
        yield f", {', '.join(figures)}{'; ' if place + 1 < len(over[:_MOST_OVER]) else ''}"
    more = len(over) - _MOST_OVER
    yield f"; and {more} more." if more > 0 else "."


def _order(advice: Advice, question: Question) -> tuple[Piece, str]:
    exact = not METRICS[question.goal].ends and not METRICS[question.goal].inverse_of
    match advice.sure:
        case Sure.CERTAIN:
            why = "both are exact" if exact else "their 95 % intervals are apart"
            return Piece("the order is certain", Tone.GOOD), f": {why}."
        case Sure.LIKELY:
            return Piece("the order is likely", Tone.DOUBTFUL), ": apart by their curves, not measured there."
        case _:
            why = "they are equal" if exact else "their 95 % intervals overlap"
            return Piece("the order is not certain", Tone.DOUBTFUL), f": {why}."


def _told(one: Contender, question: Question) -> str:
    """Return what is known of a contender in a line: the goal, then what is limited, then what it costs."""
    metrics = dict.fromkeys([question.goal, *(limit.metric for limit in question.limits)])
    said = [f"{name_of(metric)} {one.figures[metric].words}" for metric in metrics if metric in one.figures]
    prices = {price.machine: price for price in question.prices}
    said += [
        f"{dollars:.2f} $ for a million images at {prices[machine].dollars_per_hour:g} $ an hour, as given on "
        f"{prices[machine].on}, one call after the other"
        for machine, dollars in one.dollars.items()
    ]
    return "; ".join(said)


def _nearest(advice: Advice) -> Iterator[str | Piece]:
    if advice.nearest is None:
        yield "No mechanism was measured by all that is limited."
        return
    found = advice.nearest
    figure = found.contender.figures[found.missed.metric]
    way = "over" if METRICS[found.missed.metric].better is Better.LOWER else "under"
    yield "Nearest: "
    yield Piece(found.contender.label, Tone.STRONG)
    times = figure.value / found.missed.value
    share = 100 * abs(times - 1)
    far = f"{times:.3g} times" if times >= _TIMES else f"{share:.{0 if share >= _FINE else 1}f} % {way}"
    yield f", {name_of(found.missed.metric)} {figure.words}, {far} the limit."
