"""The parts of a run's folder: its own rows, and those of each worker, in a folder of its own below ``workers/``.

A part is a run's folder by itself: records, samples, limits, logs, a self-check. One process alone writes it.
Imports no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from attnbench import files
from attnbench.reading import MisreadError

RECORDS = "records.jsonl"
WORKERS = "workers"
PLANS = "plans"
"""Folder of what is planned, where many machines share that of a run."""
_SOURCE, _RETRY, _ASKED = "source.json", "retry.json", "asked.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Which run a part came from, where several were merged."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Retry:
    """The how manieth retry a worker is of what did not end ok."""

    retry: int


def of(folder: Path) -> list[Path]:
    """Return the folders within a run's that have rows, the run's own first, workers in the order of their names."""
    try:
        below = sorted(path for path in (folder / WORKERS).iterdir() if (path / RECORDS).exists())
    except (OSError, ValueError):
        below = []
    return ([folder] if _is_there(folder / RECORDS) else []) + below


def is_shared(folder: Path) -> bool:
    """Return whether many machines share a run's folder: something is planned in it."""
    return _is_there(folder / PLANS)


def is_made_of_parts(folder: Path) -> bool:
    """Return whether a run's folder has rows of workers, or of runs that were merged."""
    return any(part != folder for part in of(folder))


def home(part: Path) -> Path | None:
    """Return the folder that a part lies in with others, itself if it has parts; None if it is a run by itself."""
    if is_made_of_parts(part):
        return part
    try:
        below = part.resolve().parent
    except (OSError, ValueError):
        return None
    there = below.name == WORKERS and (is_shared(below.parent) or _is_there(below.parent / _ASKED))
    return below.parent if there else None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def source(part: Path) -> str:
    """Return which of several merged runs a part came from; empty where none was merged."""
    try:
        return files.json_of(part / _SOURCE, _Source).source
    except MisreadError:
        return ""


def name_source(part: Path, name: str) -> None:
    """Note which run a part came from.

    Raises:
        OSError: it cannot be written.
    """
    files.put(part / _SOURCE, json.dumps({"source": name}) + "\n")


def retry(part: Path) -> int:
    """Return the how manieth retry of what did not end ok a part is; 0 where it is none."""
    try:
        return files.json_of(part / _RETRY, _Retry).retry
    except MisreadError:
        return 0


def name_retry(part: Path, number: int) -> None:
    """Note the how manieth retry a part is.

    Raises:
        OSError: it cannot be written.
    """
    files.put(part / _RETRY, json.dumps({"retry": number}) + "\n")
