"""A run in a sentence: who leads in a metric at which resolutions, by how much, and how sure that is.

Where nothing was timed, the sentence is on what was counted and measured before it would have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import pandas as pd

from attnbench.metrics import METRICS, Better
from attnbench.report.comparison import comparisons, resolution
from attnbench.report.lead import Lead, Row, lead
from attnbench.report.page.blocks import Block, Paragraph, Piece, Tone, Words

LATENCY = "latency_median_s"
_UNTIMED = ("macs", "memory_peak_bytes")
"""What a run is judged by in which nothing was timed."""
_MOST_NAMES = 4
_MOST_SETTINGS = 3
"""Sets of conditions that have a sentence on a screen."""

Leads = Mapping[str, Lead]
"""By resolution, the fewest pixels first."""


def leads_of(by_size: Mapping[str, Sequence[Row]], metric: str) -> Leads:
    """Return who leads at each resolution at which somebody can be said to.

    Args:
        by_size: rows of one set of conditions by their resolution.
        metric: by which they are ranked.
    """
    found = {size: lead(rows, metric) for size, rows in by_size.items()}
    return {size: one for size, one in found.items() if one}


def headline(metric: str, leads: Leads, sizes: int) -> Words:
    """Return who leads where, in a sentence: qna at 224 and 512; hmhsa and qna, level, at 1024.

    Args:
        metric: in which they lead.
        leads: who leads at each resolution.
        sizes: how many resolutions there are.
    """
    which = "Highest" if METRICS[metric].better is Better.HIGHER else "Lowest"
    words: list[str | Piece] = [f"{which} {METRICS[metric].label.partition(' (')[0]}: "]
    stretches = [
        (names, [size for size, _ in same]) for names, same in groupby(leads.items(), lambda one: one[1].names)
    ]
    for place, (names, where) in enumerate(stretches):
        everywhere = len(where) == sizes and sizes > 1
        words += ["; "] if place else []
        words += _named(names)
        words.append(" at every resolution" if everywhere else f" at {joined(where)}")
    return (*words, ".")


def conclusion(rows: pd.DataFrame) -> Iterator[Block]:
    """Yield a sentence for each of the first sets of conditions in which more than one was ranked.

    Args:
        rows: prepared.
    """
    by_setting: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for part in comparisons(rows):
        if part.conditions in by_setting or len(by_setting) < _MOST_SETTINGS:
            taken = rows.iloc[part.places].itertuples()
            by_setting.setdefault(part.conditions, {})[resolution(part.height, part.width)] = list(taken)
    for conditions, by_size in by_setting.items():
        words = _sentences(by_size)
        if words:
            under = (Piece(f"{', '.join(conditions)}: ", Tone.FAINT),) if conditions else ()
            yield Paragraph((*under, *words))


def _sentences(by_size: Mapping[str, Sequence[Row]]) -> tuple[str | Piece, ...]:
    timed = leads_of(by_size, LATENCY)
    if timed:
        return (*pieces_of(headline(LATENCY, timed, len(by_size))), *_next(timed)) if _ranks(timed) else ()
    untimed = ((metric, leads_of(by_size, metric)) for metric in _UNTIMED)
    said = [pieces_of(headline(metric, leads, len(by_size))) for metric, leads in untimed if _ranks(leads)]
    return tuple(piece for place, words in enumerate(said) for piece in ([" ", *words] if place else words))


def _ranks(leads: Leads) -> bool:
    return any(one.following or one.level for one in leads.values())


def pieces_of(words: Words) -> tuple[str | Piece, ...]:
    """Return words as what can be put beside others."""
    return words if isinstance(words, tuple) else (words,)


def _next(leads: Leads) -> Iterator[str | Piece]:
    """Yield who comes next at the largest resolution that says it for certain."""
    followed = [(size, one) for size, one in leads.items() if one.following and one.factor]
    if not followed:
        return
    size, one = followed[-1]
    yield " Next for certain"
    yield f" at {size}: " if len(leads) > 1 else ": "
    yield Piece(one.following, Tone.STRONG)
    yield f", {one.factor} times as long."


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


def joined(words: Sequence[str]) -> str:
    """Return words as a sentence lists them, of many the first and the last."""
    if len(words) > _MOST_NAMES:
        return f"{words[0]} to {words[-1]}"
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
