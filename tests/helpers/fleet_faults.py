"""Workers of a shared folder to which things happen: another kernel, another clock, a disk that fails for a while.

They measure nothing: a cell takes some hundredths of a second and ends ok. What the disk does below the folder stands
in a file beside it, and is asked before whatever is written there, as by ``failing_disk``.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attnbench.errors import StoreError
from attnbench.fleet import planning, presence, work
from attnbench.fleet.means import MachineMeans
from attnbench.fleet.planned import SweepPlan
from attnbench.fleet.presence import Presence
from attnbench.fleet.work import FleetWork
from attnbench.plan.sweep import Sweep
from attnbench.record import Record, Status
from attnbench.runs import limits

HERE = MachineMeans(devices=("cpu",), hardware=("AMD EPYC 7B13",), cores=4, memory_bytes=2**34)
FULL, READ_ONLY, SLOW, WELL = "full", "read-only", "slow", "well"
_CODES = {FULL: errno.ENOSPC, READ_ONLY: errno.EROFS}
_PLACES = {"open": 0, "os.mkdir": 0, "os.link": 1, "os.rename": 1}
_DESCRIPTORS = ("write", "pwrite", "fsync", "ftruncate")


def disk_of(folder: Path) -> Path:
    """The file that says what the disk below a folder does."""
    return folder.with_suffix(".disk")


def work_on(folder: Path, seed: int, *, machine: str = "", hours: float = 0.0, silent_s: float = 0.6) -> None:
    """Be a worker until nothing is left, or the folder cannot be written.

    Args:
        folder: that is shared.
        seed: of how long cells take.
        machine: another kernel to be of, whose processes nobody else sees; empty for this one.
        hours: by how many its clock is ahead.
        silent_s: seconds after which others are silent to it; they count on ten times as often.
    """
    if machine:
        presence._boot = lambda: machine
    presence._now = lambda: (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="seconds")
    work.Presence = functools.partial(Presence, beat_s=silent_s / 10)
    work._LOOK_S = silent_s / 10
    limits.measure = limits.measure_after = lambda *_, **__: {}
    work.runner.run = functools.partial(_measured, chance=random.Random(seed))
    _may_fail(folder)
    with contextlib.suppress(StoreError, OSError):
        FleetWork(folder=folder, means=HERE, silent_s=silent_s, wait=True).run()


def plan_again(folder: Path, made: SweepPlan) -> None:
    """Be a submitter, which plans the same once more, over and over."""
    while True:
        with contextlib.suppress(StoreError):
            planning.keep(folder, made)


def _measured(sweep: Sweep, *, recorded: Sequence[Record], chance: random.Random, **how: Any) -> Iterator[Record]:
    there = {record.cell.key for record in recorded}
    for cell in sweep.cells:
        if cell.key not in there:
            time.sleep(chance.uniform(0.0, 0.08))
            yield Record(cell=cell, status=Status.OK, run_id=how["run_id"], kind=how["kind"])


def _may_fail(folder: Path) -> None:
    below, said = f"{folder}/", disk_of(folder)

    def ask(path: str) -> None:
        if not path.startswith(below):
            return
        how = said.read_text() if said.exists() else WELL
        if how == SLOW:
            time.sleep(0.02)
        elif how in _CODES:
            raise OSError(_CODES[how], os.strerror(_CODES[how]), path)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _PLACES:
            return
        path = arguments[_PLACES[event]]
        if event == "open" and not _writes(*arguments[1:]):
            return
        if isinstance(path, str | bytes | os.PathLike):
            ask(os.fsdecode(path))

    sys.addaudithook(hook)
    for name in _DESCRIPTORS:
        setattr(os, name, _through(getattr(os, name), ask))


def _writes(mode: object, flags: object) -> bool:
    return any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(int(flags or 0) & 3)  # type: ignore[call-overload]


def _through(usual: Callable[..., Any], ask: Callable[[str], None]) -> Callable[..., Any]:
    def call(descriptor: int, *arguments: Any) -> Any:
        with contextlib.suppress(FileNotFoundError):
            ask(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        return usual(descriptor, *arguments)

    return call
