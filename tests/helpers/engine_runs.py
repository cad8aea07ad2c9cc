"""A small sweep by hand and on engines, through the command line, and what of its rows must be the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from attnbench import store
from attnbench.record import Status

SWEEP = (
    *("--mechanisms", "mhsa,qna", "--res", "32,64", "--scope", "layer", "--stage", "4", "--depth", "1"),
    *("--until", "memory", "--device", "cpu", "--threads", "1"),
)
ON_KINDS = tuple(word for word in SWEEP if word not in {"--device", "cpu"})
"""The same where kinds of hardware say which device that is."""
CELLS = 4
EXACT = ("params", "macs_torch", "macs_fvcore", "memory_peak_bytes")
Figures = Mapping[str, tuple[object, ...]]


def start(*words: str, folder: Path, variables: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``attnbench`` in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "attnbench", *words],
        cwd=folder,
        env=os.environ | dict(variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(*words: str, folder: Path, variables: Mapping[str, str] | None = None, status: int = 0) -> str:
    """Run ``attnbench`` in a folder and return what it prints."""
    with start(*words, folder=folder, variables=variables) as started:
        printed, _ = started.communicate()
    assert started.returncode == status, printed
    assert "Traceback" not in printed
    return printed


def by_hand(folder: Path) -> Figures:
    """Return what ``attnbench run`` finds of the sweep on this machine, by cell."""
    said("run", *SWEEP, "--out", "by-hand", folder=folder)
    (found,) = by_kind(folder / "by-hand").values()
    return found


def by_kind(run: Path, absent: Collection[str] = ()) -> dict[str, Figures]:
    """Return what is exact of the rows of a run, by kind of hardware and cell.

    Each cell has one row, and it is ok; on kinds that are absent it says that.
    """
    found: dict[str, dict[str, tuple[object, ...]]] = {}
    gone = [record for record in store.read(run) if record.kind in absent]
    assert [record.status for record in gone] == [Status.ABSENT] * CELLS * len(absent)
    for record in store.read(run):
        if record.kind in absent:
            continue
        assert record.status is Status.OK, record.reason
        of_kind = found.setdefault(record.kind, {})
        assert record.cell.key not in of_kind
        of_kind[record.cell.key] = tuple(record.metrics.get(name) for name in EXACT)
    return dict(found)
