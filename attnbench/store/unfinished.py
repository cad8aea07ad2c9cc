"""What is known of cells that have no row yet, on disk, so that an interruption costs no count and no peak of memory.

Appended to ``unfinished.jsonl`` beside the rows as it is found, a line a phase, and taken up when the run goes on. A
line that cannot be read, torn by a crash, is passed over: what it held is found again. No torch.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from attnbench import __version__, files
from attnbench.reading import MisreadError, from_json, structured
from attnbench.record import CHECKSUM, Cell, Value, checksum

UNFINISHED = "unfinished.jsonl"
_KEPT: Final = frozenset({"counting", "measuring memory", "measuring memory outside", "training"})
"""Phases that are not repeated: what the others do has to be done in the process that times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What phases found of a cell in one environment."""

    environment_id: str
    metrics: Mapping[str, Value]
    phases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What one phase found; of no phase, that nothing found before is to be used."""

    cell_key: str
    environment_id: str
    attnbench_version: str
    phase: str = ""
    metrics: Mapping[str, Value] = field(default_factory=dict)


def read(folder: Path) -> dict[str, Begun]:
    """Return what this version found of cells, by their key, in the environment of the last line of each."""
    facts: dict[str, Begun] = {}
    with contextlib.suppress(MisreadError):
        for text in files.text_of(folder / UNFINISHED, errors="replace").splitlines():
            line = _line(text)
            if line is not None and line.attnbench_version == __version__:
                facts[line.cell_key] = _with(facts.get(line.cell_key), line)
    return {key: each for key, each in facts.items() if each.phases}


def keep(folder: Path, cell: Cell, environment_id: str, phase: str, metrics: Mapping[str, Value]) -> None:
    """Add what a phase found of a cell, synced; a phase that has to be repeated in any case is left out.

    Raises:
        OSError: it cannot be written.
    """
    if phase in _KEPT:
        _append(folder, replace(_of(cell, environment_id), phase=phase, metrics=metrics))


def drop(folder: Path, cell: Cell, environment_id: str) -> None:
    """Note that what was found of a cell is not to be used.

    Raises:
        OSError: it cannot be written.
    """
    _append(folder, _of(cell, environment_id))


def forget(folder: Path) -> None:
    """Remove what is kept: all cells have their rows, or all is begun anew."""
    (folder / UNFINISHED).unlink(missing_ok=True)


def unrecorded(folder: Path, wanted: Collection[str]) -> int:
    """Return of how many of these keys, which have no row, something is kept."""
    return len(read(folder).keys() & set(wanted))


def _of(cell: Cell, environment_id: str) -> _Line:
    return _Line(cell_key=cell.key, environment_id=environment_id, attnbench_version=__version__)


def _append(folder: Path, line: _Line) -> None:
    content = asdict(line)
    text = json.dumps(content | {CHECKSUM: checksum(content)}, sort_keys=True)
    # It begins with the end of a line: the one before may have been cut short.
    with (folder / UNFINISHED).open("ab") as file:
        file.write(f"\n{text}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def _line(text: str) -> _Line | None:
    """Return what a line holds, None if that cannot be read or is not what was written."""
    try:
        content = from_json(text)
        if not isinstance(content, dict) or content.pop(CHECKSUM, "") != checksum(content):
            return None
        return structured(content, _Line)
    except (MisreadError, ValueError):
        return None


def _with(before: Begun | None, line: _Line) -> Begun:
    if not line.phase:
        return Begun(environment_id=line.environment_id, metrics={}, phases=())
    if before is None or before.environment_id != line.environment_id:
        before = Begun(environment_id=line.environment_id, metrics={}, phases=())
    phases = tuple(dict.fromkeys((*before.phases, line.phase)))
    return Begun(environment_id=line.environment_id, metrics={**before.metrics, **line.metrics}, phases=phases)
