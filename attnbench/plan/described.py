"""Cells in a few words each, for screens and logs. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attnbench.axes import AXES, DEFAULTS, Axis, Told
from attnbench.record import Cell, Task


def described(cells: Iterable[Cell]) -> dict[str, str]:
    """Return cells in a few words each, by their key; those of the same words with the options in which they differ."""
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(describe(cell), []).append(cell)
    return {cell.key: words + _differing(cell, group) for words, group in alike.items() for cell in group}


def _differing(cell: Cell, group: Sequence[Cell]) -> str:
    names = [name for name, value in cell.options.items() if any(one.options.get(name) != value for one in group)]
    return "".join(f", {name}={cell.options[name]}" for name in names)


def describe(cell: Cell) -> str:
    """Return a cell in a few words: the mechanism and where it is measured."""
    return f"{cell.label} at {place(cell)}"


def place(cell: Cell) -> str:
    """Return where a cell is measured, in a few words."""
    if cell.task is Task.ACCURACY:
        return cell.dataset
    size = f"{cell.height}" if cell.height == cell.width else f"{cell.height}x{cell.width}"
    values = [(axis, getattr(cell, axis.fields[0])) for axis in AXES.values() if not axis.together]
    return " ".join([size, *(axis.phrase.format(value) for axis, value in values if _is_told(axis, value))])


def _is_told(axis: Axis, value: object) -> bool:
    if axis.told is Told.ALWAYS:
        return bool(value)
    return axis.told is Told.WHERE_UNUSUAL and value != DEFAULTS[axis.fields[0]]
