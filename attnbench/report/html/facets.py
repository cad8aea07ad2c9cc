"""What the rows of a page are told apart by besides mechanism and resolution: an axis each, with its values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attnbench import axes as table_of_axes
from attnbench import inert
from attnbench.report.comparison import PHRASES, varying
from attnbench.report.html.shipped import ShippedRows

_FIRST = ("machine", table_of_axes.AXES["runtime"].fields[0])
"""What is asked for most, and so is offered first."""
_NAMES = {"machine": "hardware", "dtype": "type", "run_id": "run", "compiled": "compile", "sdpa": "kernel of attention"}
_NONE = "none"
"""A value of an axis that does not apply."""


def facets(page: ShippedRows) -> list[dict[str, Any]]:
    """Return the axes on which rows differ, each with its values and which of them every part of the page has.

    An axis is of sets of conditions (``of`` is ``setting``), or of names where cells that differ in it are timed in
    turn (``label``). One whose values follow from the hardware or from another axis is left out.
    """
    made: list[dict[str, Any]] = []
    for name, of, places in sorted(_candidates(page), key=lambda one: one[0] not in _FIRST):
        values = [_said(name, page.findings.rows[name].iloc[place]) for place in places]
        distinct = list(dict.fromkeys(values))
        which = [distinct.index(value) for value in values]
        if len(distinct) > 1 and not any(_follows(which, each) for each in made if each["of"] == of):
            called = _NAMES.get(name, name.replace("_", " "))
            made.append({"name": called, "of": of, "values": distinct, "which": which})
    return made


def _candidates(page: ShippedRows) -> Iterator[tuple[str, str, Sequence[int]]]:
    """Yield each axis with what it is of, and a row of each of those."""
    rows = page.findings.rows
    for name in varying(rows):
        yield name, "setting", page.firsts
    first_of: dict[str, int] = {}
    for place, label in enumerate(rows["label"]):
        first_of.setdefault(label, place)
    for name in table_of_axes.TOGETHER:
        if name in rows:
            yield name, "label", [*first_of.values()]


def _follows(which: Sequence[int], earlier: dict[str, Any]) -> bool:
    """Return whether values go with those of an axis that is there already, or are fixed by the hardware."""
    pairs = set(zip(earlier["which"], which, strict=True))
    return len(pairs) == len(earlier["values"]) and (earlier["name"] == "hardware" or len(set(which)) == len(pairs))


def _said(name: str, value: object) -> str:
    if value is None or value != value or value == "":  # noqa: PLR0124 - NaN
        return _NONE
    if isinstance(value, bool):
        return table_of_axes.texts(value)[0]
    return inert.line(PHRASES.get(name, "{}").format(f"{value:g}" if isinstance(value, float) else value))
