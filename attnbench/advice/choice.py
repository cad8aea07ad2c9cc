"""Who is taken, who comes next, how sure that is, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from attnbench.advice.figures import Known, Row, Unknown, figure
from attnbench.advice.question import Limit, Question, name_of
from attnbench.metrics import METRICS, Better, format_value
from attnbench.report.comparison import apart, varying
from attnbench.report.findings import Findings

_SECONDS_PER_HOUR, _MILLION = 3600, 1_000_000


class Keeps(StrEnum):
    """Whether a mechanism keeps a limit."""

    YES = "yes"
    AS_MEASURED = "as measured"
    """Its value does; its interval reaches past the limit."""
    HARDLY = "no, as measured"
    """Its value does not; its interval reaches to the limit."""
    NO = "no"
    UNKNOWN = "unknown"

    @property
    def fits(self) -> bool:
        """Whether it may be taken."""
        return self in {Keeps.YES, Keeps.AS_MEASURED}


class Sure(StrEnum):
    """How sure an order is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    """Their intervals are apart, and at least one was read off a curve."""
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A mechanism with what is known of it at the resolution."""

    label: str
    figures: Mapping[str, Known]
    """Of the goal and of every limit, those that are known; of others what else is said of it."""
    kept: tuple[Keeps, ...]
    """By limit."""
    ratio: Known | None = None
    """Of its goal to the baseline's within the rounds of a run, where it has one."""
    baseline: str = ""
    """Of the ratio."""
    dollars: Mapping[str, float] = field(default_factory=dict)
    """For a million images, by machine."""

    @property
    def fits(self) -> bool:
        """Whether it keeps every limit, as measured."""
        return all(each.fits for each in self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """Who comes nearest where nobody fits."""

    contender: Contender
    excess: float
    """Factor by which it misses the limit that it misses by most."""
    missed: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The answer under one set of conditions."""

    conditions: tuple[str, ...]
    choice: Contender | None
    runner_up: Contender | None = None
    sure: Sure | None = None
    """Of the order of the two; None where there are no two."""
    nearest: Nearest | None = None
    over: tuple[Contender, ...] = ()
    """Those of which a limit is known not to be kept, or not known to be, the best first."""
    changes: tuple[str, ...] = ()
    """What would change the answer, in words."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a mechanism takes no part, by its label."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """By label, the key of a cell of each mechanism that was looked at."""

    @property
    def taken(self) -> tuple[Contender, ...]:
        """Those that the answer names."""
        nearest = self.nearest.contender if self.nearest else None
        return tuple(one for one in (self.choice, self.runner_up, nearest) if one)

    @property
    def says_something(self) -> bool:
        """Whether anything that was asked for is known under these conditions."""
        return self.choice is not None or self.nearest is not None


def advise(findings: Findings, question: Question) -> list[Advice]:
    """Return the answer under every set of conditions that has a row and whose words hold what is asked for.

    Args:
        findings: of the rows that it rests on.
        question: what is asked.
    """
    rows = findings.rows
    everything = list(rows.itertuples())
    own = (*findings.constants,)
    return [
        _advice([everything[place] for place in places], question, conditions)
        for conditions, places in apart(rows, varying(rows))
        if question.under.casefold() in ", ".join([*own, *conditions]).casefold()
    ]


def _advice(rows: Sequence[Row], question: Question, conditions: tuple[str, ...]) -> Advice:
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    known: list[Contender] = []
    left_out: dict[str, str] = {}
    keys = {label: str(own[-1].cell_key) for label, own in by_label.items()}
    for label, own in by_label.items():
        goal = figure(own, question.goal, height=question.height, width=question.width)
        if isinstance(goal, Unknown):
            left_out[label] = goal.why
        else:
            known.append(_contender(label, own, question, goal))
    ranked = sorted((one for one in known if one.fits), key=lambda one: _cost(one.figures[question.goal]))
    if not ranked:
        changes = tuple(_changes(known, question, None))
        return Advice(
            conditions=conditions,
            choice=None,
            nearest=_nearest(known, question),
            changes=changes,
            left_out=left_out,
            keys=keys,
        )
    best, *others = ranked
    over = sorted((one for one in known if not one.fits), key=lambda one: _cost(one.figures[question.goal]))
    return Advice(
        conditions=conditions,
        choice=best,
        runner_up=others[0] if others else None,
        sure=_sure(best, others[0], question) if others else None,
        over=tuple(over),
        changes=tuple(_changes(known, question, best)),
        left_out=left_out,
        keys=keys,
    )


def _contender(label: str, rows: Sequence[Row], question: Question, goal: Known) -> Contender:
    at = {"height": question.height, "width": question.width}
    wanted = dict.fromkeys([*(limit.metric for limit in question.limits), "latency_median_s"])
    found = {metric: figure(rows, metric, **at) for metric in wanted} | {question.goal: goal}
    figures = {metric: one for metric, one in found.items() if isinstance(one, Known)}
    ratios = [name for name, metric in METRICS.items() if metric.ratio_of == question.goal]
    ratio = figure(rows, ratios[0], **at) if ratios else None
    return Contender(
        label=label,
        figures=figures,
        kept=tuple(_keeps(figures.get(limit.metric), limit) for limit in question.limits),
        ratio=ratio if isinstance(ratio, Known) else None,
        baseline=str(rows[-1].baseline or ""),
        dollars=_dollars(rows[-1], figures.get("latency_median_s"), question),
    )


def _keeps(found: Known | None, limit: Limit) -> Keeps:
    if found is None:
        return Keeps.UNKNOWN
    sign = 1 if limit.is_most else -1
    near, far = sorted((sign * found.low, sign * found.high))
    if far <= sign * limit.value:
        return Keeps.YES
    if near > sign * limit.value:
        return Keeps.NO
    return Keeps.AS_MEASURED if sign * found.value <= sign * limit.value else Keeps.HARDLY


def _dollars(row: Row, latency: Known | None, question: Question) -> dict[str, float]:
    """Return what a million images cost, one call after the other; nothing of a layer, which is no model."""
    if latency is None or row.scope == "layer":
        return {}
    return {
        price.machine: latency.value / (row.batch or 1) * _MILLION * price.dollars_per_hour / _SECONDS_PER_HOUR
        for price in question.prices
        if price.machine.casefold() in f"{row.hardware} {row.machine} {row.device}".casefold()
    }


def _cost(found: Known) -> float:
    return -found.value if METRICS[found.metric].better is Better.HIGHER else found.value


def _sure(best: Contender, other: Contender, question: Question) -> Sure:
    """Say whether the order of two is certain, by their ratios to one baseline where both have one."""
    one, two = best.figures[question.goal], other.figures[question.goal]
    if best.ratio and other.ratio and best.baseline == other.baseline:
        one, two = best.ratio, other.ratio
    apart = one.high < two.low or two.high < one.low
    exact = one.low == one.high and two.low == two.high and not METRICS[question.goal].ends
    if not apart and not (exact and one.value != two.value):
        return Sure.UNDECIDED
    return Sure.LIKELY if one.between or two.between else Sure.CERTAIN


def _excess(contender: Contender, limit: Limit) -> float:
    found = contender.figures.get(limit.metric)
    if found is None:
        return math.inf
    return found.value / limit.value if limit.is_most else limit.value / found.value


def _nearest(known: Sequence[Contender], question: Question) -> Nearest | None:
    found = [
        Nearest(contender=one, excess=_excess(one, worst), missed=worst)
        for one in known
        for worst in [max(question.limits, key=lambda limit: _excess(one, limit))]
        if _excess(one, worst) < math.inf
    ]
    return min(found, key=lambda each: each.excess, default=None)


def _changes(known: Sequence[Contender], question: Question, best: Contender | None) -> Iterator[str]:
    """Say which limit, let alone, lets a better one in, and at which the best itself no longer fits."""
    for place, limit in enumerate(question.limits):
        others = [
            one
            for one in known
            if one is not best
            and limit.metric in one.figures
            and not one.kept[place].fits
            and all(kept.fits for at, kept in enumerate(one.kept) if at != place)
            and (best is None or _cost(one.figures[question.goal]) < _cost(best.figures[question.goal]))
        ]
        name, which = name_of(limit.metric), "at most" if limit.is_most else "at least"
        if others:
            one = min(others, key=lambda each: _excess(each, limit))
            needed = format_value(limit.metric, one.figures[limit.metric].value)
            yield f"with {name} {which} {needed}, {one.label} would {'fit' if best is None else 'be taken'}"
        if best is not None and limit.metric in best.figures:
            own = format_value(limit.metric, best.figures[limit.metric].value)
            side = "below" if limit.is_most else "above"
            yield f"with a limit of {name} {side} {own}, {best.label} would no longer fit"
