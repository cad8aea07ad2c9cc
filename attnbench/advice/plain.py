"""An answer as data: what ``attnbench advise --json`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnbench.advice.choice import Advice, Contender
from attnbench.advice.figures import Known
from attnbench.advice.question import Question
from attnbench.report.comparison import resolution


def plain(answers: Sequence[Advice], question: Question, *, constants: Sequence[str], commands: str) -> dict[str, Any]:
    """Return question and answers as JSON has them, numbers in the units that ``records.csv`` has.

    Args:
        answers: one for each set of conditions.
        question: what was asked.
        constants: what all rows have in common, in phrases.
        commands: that measure what the answers name at the resolution that is asked for; empty if that was done.
    """
    return {
        "question": {
            "resolution": resolution(question.height, question.width),
            "goal": question.goal,
            "limits": [
                {"metric": each.metric, "at_most" if each.is_most else "at_least": each.value}
                for each in question.limits
            ],
            "prices": [
                {"machine": each.machine, "usd_per_hour": each.dollars_per_hour, "given_on": each.on}
                for each in question.prices
            ],
        },
        "same_for_all": list(constants),
        "to_measure_it": commands.splitlines(),
        "answers": [_advice(each, question) for each in answers],
    }


def _advice(one: Advice, question: Question) -> dict[str, Any]:
    nearest = one.nearest
    return {
        "conditions": list(one.conditions),
        "choice": _contender(one.choice, question),
        "runner_up": _contender(one.runner_up, question),
        "order": one.sure.value if one.sure else None,
        "nearest": nearest
        and {
            "mechanism": _contender(nearest.contender, question),
            "missed": nearest.missed.metric,
            "factor": nearest.excess,
        },
        "beyond_a_limit": [_contender(each, question) for each in one.over],
        "what_would_change_it": list(one.changes),
        "left_out": dict(one.left_out),
    }


def _contender(one: Contender | None, question: Question) -> dict[str, Any] | None:
    if one is None:
        return None
    kept = zip(question.limits, one.kept, strict=True)
    return {
        "label": one.label,
        "figures": {metric: _figure(each) for metric, each in one.figures.items()},
        "keeps": {limit.metric: each.value for limit, each in kept},
        "usd_per_million_images": dict(one.dollars),
    }


def _figure(one: Known) -> dict[str, Any]:
    return {
        "value": one.value,
        "interval_95": None if one.low == one.high else [one.low, one.high],
        "read_off_between": list(one.between) or None,
        "cell_keys": list(one.rows),
    }
