"""Scores of finished trainings on disk, a line each: what an interrupted calibration has found is not found again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from attnbench import files, reading
from attnbench.errors import StoreError

if TYPE_CHECKING:
    from attnbench.calibration.training import ProxyScore

FILE = "scores.jsonl"
Trained: TypeAlias = tuple[str, str, int, int]
"""Network, proxy, seed and steps of a training."""


def key(score: ProxyScore) -> Trained:
    """Return what tells a training from the others."""
    return score.network, score.proxy, score.seed, score.steps


def read(folder: Path) -> Mapping[Trained, ProxyScore]:
    """Return what a folder holds, nothing where there is none; a last line that was cut off is left out.

    Raises:
        StoreError: it holds something else.
    """
    from attnbench.calibration.training import ProxyScore  # noqa: PLC0415 - torch

    path = folder / FILE
    if not path.exists():
        return {}
    lines = files.text_of(path).split("\n")
    found: dict[Trained, ProxyScore] = {}
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line break was cut off
        try:
            score = reading.structured(reading.from_json(line), ProxyScore)
        except reading.MisreadError as error:
            raise StoreError(f"{path}, line {number}: {error}; move the file away to start over") from None
        found[key(score)] = score
    return found


def append(folder: Path, score: ProxyScore) -> None:
    """Add a score to a folder.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = files.bytes_of(path) if path.exists() else b""
        whole = before[: before.rfind(b"\n") + 1]
        files.put(path, whole + json.dumps(asdict(score)).encode() + b"\n")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {files.reason_of(error)}; give another --out") from None
