"""What cells are called beside each other: by that in which they differ; what all share goes unsaid."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attnbench.record import Cell, Task
from attnbench.report.comparison import PHRASES, resolution

_AXES = tuple(axis for axis in PHRASES if axis in Cell.__dataclass_fields__)


def names(cells: Sequence[Cell]) -> dict[str, str]:
    """Return what tells each cell from the others of its task, by its key."""
    named: dict[str, str] = {}
    for task in Task:
        alike = [cell for cell in cells if cell.task is task]
        several, varying = len(_sizes(alike)) > 1, _varying(alike)
        by_label: dict[str, list[Cell]] = {}
        for cell in alike:
            by_label.setdefault(cell.label, []).append(cell)
        differing = {label: _differing(variants) for label, variants in by_label.items()}
        for cell in alike:
            size = [resolution(cell.height, cell.width)] if several else []
            called = f"{cell.label} on {cell.dataset}" if cell.dataset else cell.label
            options = [f"{name}={value}" for name, value in cell.options.items() if name in differing[cell.label]]
            parts = [called, *options, *size, *_phrases(cell, varying)]
            named[cell.key] = ", ".join(parts)
    return named


def shared(cells: Sequence[Cell]) -> str:
    """Return what some cells have in common besides the mechanism, in a line; at least one cell."""
    varying, sizes = _varying(cells), _sizes(cells)
    return ", ".join([*(sizes if len(sizes) == 1 else []), *_phrases(cells[0], set(_AXES) - varying)])


def _varying(cells: Sequence[Cell]) -> set[str]:
    return {axis for axis in _AXES if len({getattr(cell, axis) for cell in cells}) > 1}


def _sizes(cells: Sequence[Cell]) -> set[str]:
    return {resolution(cell.height, cell.width) for cell in cells}


def _phrases(cell: Cell, axes: set[str]) -> list[str]:
    """Return what a cell says about some axes, in their order; a stage or a dim of 0 does not apply."""
    return [PHRASES[axis].format(getattr(cell, axis)) for axis in _AXES if axis in axes and getattr(cell, axis)]


def _differing(variants: Sequence[Cell]) -> set[str]:
    """Return the options in which cells of one label differ."""
    names = {name for cell in variants for name in cell.options}
    return {name for name in names if len({json.dumps(cell.options.get(name)) for cell in variants}) > 1}
