"""The parent's side of a profile: a child for each cell, so that one that dies takes no other with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.child import ENDED, Child, late
from attnbench.explain.profiles import CallProfile
from attnbench.record import Record
from attnbench.runs.job import FORK

MODULE = "attnbench.worker.explaining"
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePhase:
    """What a child begins to do."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoProfile:
    """Why there is none."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A row, and the profile of its cell or why it has none."""

    record: Record
    profile: CallProfile | None = None
    failure: str = ""
    """Why there is no profile; empty if there is one."""
    elsewhere: bool = False
    """Whether the row was measured in another environment than the profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledCell:
    """A profile, with the environment that it was taken in."""

    profile: CallProfile
    environment_id: str


_EVENTS = {"phase": ProfilePhase, "failed": NoProfile, "profiled": ProfiledCell}


def explain(
    folder: Path,
    records: Sequence[Record],
    *,
    timeout_s: float = TIMEOUT_S,
    isolation: str = FORK,
    module: str = MODULE,
) -> Iterator[Explained]:
    """Have cells profiled one after the other, and yield each as it is done.

    Args:
        folder: of the run.
        records: its rows that are explained.
        timeout_s: how long a phase of a cell may take.
        isolation: how a child starts, as the workers do.
        module: module that does the work.
    """
    log = folder / "logs" / "explain.log"
    with contextlib.suppress(OSError):  # a log that cannot be written is warned of
        log.parent.mkdir(parents=True, exist_ok=True)
    for record in records:
        asked = (str(folder.resolve()), record.cell.key)
        with Child(module, *asked, events=_EVENTS, log=log, threads=record.cell.threads, isolation=isolation) as child:
            yield _heard(child, record, timeout_s)


def _heard(child: Child, record: Record, timeout_s: float) -> Explained:
    phase = "starting"
    while True:
        said = child.next_event(timeout_s=timeout_s)
        if said is None:
            return Explained(record=record, failure=late(phase, timeout_s).partition(";")[0])
        if said is ENDED:
            return Explained(record=record, failure=child.death(phase).reason)
        if isinstance(said, NoProfile):
            return Explained(record=record, failure=said.reason)
        if isinstance(said, ProfiledCell):
            taken_in = record.environment.get("environment_id")
            return Explained(record=record, profile=said.profile, elsewhere=taken_in != said.environment_id)
        phase = said.name
