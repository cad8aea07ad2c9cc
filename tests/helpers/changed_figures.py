"""Every figure of a kept run changed in turn: each value of a record, of a sample, of a table, of what was asked."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure of one file with another value."""

    figure: str
    """Its file, row and name."""
    path: Path
    content: bytes
    """The whole file, changed."""


def of_json(path: Path) -> Iterator[Change]:
    """Yield each value and each name of a JSON file changed."""
    content = json.loads(path.read_text())
    for place, value in _leaves(content):
        yield _change(path, place, json.dumps(_with(content, place, _other(value)), indent=1))
    for place in _names(content):
        yield _change(path, (*place, "(name)"), json.dumps(_renamed(content, place), indent=1))


def of_lines(path: Path, *, only: Callable[[tuple[str | int, ...]], bool] = lambda _: True) -> Iterator[Change]:
    """Yield each value of each line of JSON changed."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        content = json.loads(line)
        for place, value in _leaves(content):
            if only(place):
                changed = json.dumps(_with(content, place, _other(value)), sort_keys=True)
                text = "\n".join([*lines[:number], changed, *lines[number + 1 :]])
                yield _change(path, (number + 1, *place), text + "\n")


def of_csv(path: Path) -> Iterator[Change]:
    """Yield each cell of a table changed, empty ones filled."""
    heading, *rows = csv.reader(io.StringIO(path.read_text()))
    for number, row in enumerate(rows):
        for place, value in enumerate(row):
            changed = [*row[:place], _other_text(value), *row[place + 1 :]]
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([heading, *rows[:number], changed, *rows[number + 1 :]])
            yield _change(path, (number + 1, heading[place]), text.getvalue())


def of_samples(path: Path) -> Iterator[Change]:
    """Yield each entry of each array changed."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    for name, array in arrays.items():
        for place in range(array.size):
            changed = array.copy()
            changed.flat[place] = _other(array.flat[place].item())
            packed = io.BytesIO()
            np.savez_compressed(packed, **arrays | {name: changed})
            yield Change(figure=f"{path.name} {name} {place}", path=path, content=packed.getvalue())


def _change(path: Path, place: tuple[Any, ...], text: str) -> Change:
    return Change(figure=" ".join(map(str, (path.name, *place))), path=path, content=text.encode())


def _leaves(content: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if parts is None:
        yield place, content
    for name, part in parts or ():
        yield from _leaves(part, (*place, name))


def _names(content: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(content, dict):
        for name, part in content.items():
            yield (*place, name)
            yield from _names(part, (*place, name))


def _with(content: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    copied = content.copy()
    copied[place[0]] = _with(content[place[0]], place[1:], value)
    return copied


def _renamed(content: Any, place: tuple[str | int, ...]) -> Any:
    if len(place) == 1:
        return {f"{name}x" if name == place[0] else name: part for name, part in content.items()}
    copied = content.copy()
    copied[place[0]] = _renamed(content[place[0]], place[1:])
    return copied


def _other(value: Any) -> Any:
    """Return another value of the same kind, something where there was nothing."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.000001 if value else 1e-6
    return "1" if value is None else _other_text(value)


def _other_text(value: str) -> str:
    """Return a text with its last digit, or its last letter, changed."""
    digits = list(re.finditer(r"\d", value))
    if not digits:
        return f"{value}1"
    last = digits[-1].start()
    return value[:last] + str((int(value[last]) + 1) % 10) + value[last + 1 :]
