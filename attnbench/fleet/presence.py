"""Workers and whether they live: each says who it is in ``workers/NAME/worker.json``, and counts on in ``beat``.

Whether a worker is silent is told by the observer's own clock, which sees the count stand still; times of two machines
are never compared. A worker of the observer's own machine is looked for among its processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from attnbench import files
from attnbench.reading import MisreadError, from_json, structured
from attnbench.store import parts

FACTS, BEAT = "worker.json", "beat"
BEAT_S, SILENT_S = 5.0, 120.0
"""Seconds between two counts, and without one after which a worker has lost its group."""


class Liveness(StrEnum):
    """What an observer knows of a worker."""

    ALIVE = "alive"
    SILENT = "silent"
    NOT_KNOWN = "not known"
    """It has not been watched for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """Who a worker is."""

    name: str
    host: str
    pid: int
    boot: str
    """Of the kernel that ``pid`` is a process of, with the namespace of its number; empty where that is not said."""
    born: str
    """When that process began, in the kernel's ticks: a number is given again."""
    started_at: str
    """ISO 8601, UTC, by the worker's own clock; for people."""
    kind: str = ""
    """Of hardware, as it was told; empty where it was told none."""

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended: a process of this machine that is not there."""
        return bool(self.boot) and self.boot == _boot() and _born(self.pid) != self.born


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a worker last said."""

    count: int
    group: str = ""
    """At work on; empty for none."""
    at: str = ""
    """ISO 8601, UTC, by the worker's own clock; for people."""
    ended: str = ""
    """Why it has ended; empty while it lives."""


class Presence:
    """A worker that says that it lives, from a thread of its own until it has ended."""

    def __init__(self, folder: Path, *, kind: str = "", beat_s: float = BEAT_S) -> None:
        """Make a folder for a worker and begin to say that it lives.

        Args:
            folder: of the run.
            kind: of hardware, as it was told.
            beat_s: seconds between two counts.

        Raises:
            OSError: it cannot be written.
        """
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40] or "host"
        self.facts = WorkerFacts(
            name=f"{host}-{secrets.token_hex(4)}",
            host=host,
            pid=os.getpid(),
            boot=_boot(),
            born=_born(os.getpid()),
            started_at=_now(),
            kind=kind,
        )
        self.folder = folder / parts.WORKERS / self.facts.name
        self.folder.mkdir(parents=True)
        self.group = ""
        """What it is at work on."""
        self._count = 0
        self._over = threading.Event()
        files.put(self.folder / FACTS, json.dumps(asdict(self.facts)) + "\n", sync=True)
        self._say()
        threading.Thread(target=self._beat, args=(beat_s,), daemon=True, name="beat").start()

    def turn_to(self, group: str) -> None:
        """Say at once what it is at work on from now: who ends without a word has said what it leaves behind."""
        self.group = group
        with contextlib.suppress(OSError):
            self._say()

    def end(self, why: str) -> None:
        """Say that it has ended."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._say(ended=why)

    def _beat(self, beat_s: float) -> None:
        while not self._over.wait(beat_s):
            with contextlib.suppress(OSError):
                self._say()

    def _say(self, *, ended: str = "") -> None:
        self._count += 1
        beat = Beat(count=self._count, group=self.group, at=_now(), ended=ended)
        # In place, not renamed: over a network names are looked up from a cache, and contents are asked for anew.
        said = json.dumps(asdict(beat)).ljust(256).encode() + b"\n"
        opened = os.open(self.folder / BEAT, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(opened, said, 0)
        finally:
            os.close(opened)


class Observer:
    """Watches workers by its own clock."""

    def __init__(
        self, folder: Path, *, silent_s: float = SILENT_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch the workers of a run.

        Args:
            folder: of the run.
            silent_s: seconds without a count after which a worker is silent.
            clock_s: says the time, in seconds since whenever.
        """
        self._folder, self._silent_s, self._clock_s = folder, silent_s, clock_s
        self._seen: dict[str, tuple[bytes, float, bool]] = {}

    def look_at_all(self) -> None:
        """Take down what every worker has said by now."""
        for facts in workers(self._folder):
            self.of(facts, facts.name)

    def of(self, facts: WorkerFacts | None, name: str) -> Liveness:
        """Return what is known of a worker by now.

        Args:
            facts: who it is; None where that is not known.
            name: of the worker, or of the lease that says nothing of whose it is.
        """
        if facts is not None and facts.gone:
            return Liveness.SILENT
        said = beat_of(self._folder, name)
        if said is not None and said[1] is not None and said[1].ended:
            return Liveness.SILENT
        content, now = said[0] if said else b"", self._clock_s()
        before = self._seen.get(name)
        if before is None or before[0] != content:
            self._seen[name] = (content, now, before is not None)
        _, since, moved = self._seen[name]
        if now - since >= self._silent_s:
            return Liveness.SILENT
        return Liveness.ALIVE if moved else Liveness.NOT_KNOWN


def beat_of(folder: Path, name: str) -> tuple[bytes, Beat | None] | None:
    """Return what a worker last said, as it is written and as it is read; None where it has said nothing."""
    try:
        content = files.bytes_of(folder / parts.WORKERS / name / BEAT)
    except MisreadError:
        return None
    try:
        return content, structured(from_json(content.decode("utf-8", "replace")), Beat)
    except MisreadError:
        return content, None


def workers(folder: Path) -> list[WorkerFacts]:
    """Return who has ever worked in a folder, in the order of their names."""
    found = []
    for path in sorted((folder / parts.WORKERS).glob(f"*/{FACTS}")):
        with contextlib.suppress(MisreadError):
            found.append(files.json_of(path, WorkerFacts))
    return found


def told_kind(part: Path) -> str:
    """Return the kind of hardware that the worker of a part was told its machine is, empty for none."""
    try:
        return files.json_of(part / FACTS, WorkerFacts).kind
    except MisreadError:
        return ""


def _boot() -> str:
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{kernel} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Return when a process began, empty if it is not there or has ended and nobody has asked how."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if said[0] == "Z" else said[19]
    except (OSError, IndexError):
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
