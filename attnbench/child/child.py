"""A child process and what it says, read without polling: the parent sleeps until an event, the end, or a deadline."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import warnings
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from attnbench.child.forked import Forked, NoForkError
from attnbench.child.spawned import Spawned, last_line
from attnbench.record import Status
from attnbench.runs.job import FORK, SPAWN, Event

ENDED: Final[Event] = {"event": "ended"}
_LAST_WORDS_S = 1.0


class Child:
    """A module of ours that runs in a process. Use it as a context manager: leaving it ends the child's whole session.

    The module is run as ``python -m MODULE ARGUMENTS... EVENT_FD``, where EVENT_FD is the descriptor of a pipe that
    takes a JSON object a line. The child is a session of its own: Ctrl-C reaches the parent alone.
    """

    def __init__(self, module: str, *arguments: str, log: Path, threads: int, isolation: str = SPAWN) -> None:
        """Start the child.

        Args:
            module: what is run.
            arguments: what it is given, the descriptor of its events aside.
            log: file for what the child prints. A pipe would be held open by whatever the child leaves behind.
            threads: intra-op threads, for libraries that read them from the environment.
            isolation: FORK or SPAWN. A fork starts in milliseconds; it shares the layout of its memory with the others.
        """
        self.log = log
        self.exit_status: int | None = None
        """The child's exit status, negative for a signal; None while it runs, and if its server ended it."""
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._kills_before = _out_of_memory_kills()
        receiving, sending = os.pipe()
        try:
            self._process = _start(module, *arguments, log=log, events=sending, threads=threads, isolation=isolation)
        except BaseException:
            os.close(receiving)
            raise
        finally:
            os.close(sending)
        self._reader = threading.Thread(target=self._read, args=(os.fdopen(receiving, "rb"),), daemon=True)
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._reader.start()
        self._waiter.start()

    def next_event(self, *, timeout_s: float) -> Event | None:
        """Return the next event, ENDED after the last one, or None if nothing came in time."""
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def end(self) -> None:
        """End the child and everything in its session at once."""
        self._process.kill()
        self._waiter.join()

    def cause_of_death(self, phase: str) -> tuple[Status, str]:
        """Return what a child that has ended before its time died of while it was in a phase."""
        said = last_line(self.log)
        hint = f" ({said})" if said else ""
        if self.exit_status is None:
            return Status.CRASHED, f"the process that it was forked from ended while {phase}{hint}"
        if self.exit_status >= 0:
            return Status.CRASHED, f"the process ended with status {self.exit_status} while {phase}{hint}"
        name = _signal_name(-self.exit_status)
        if name == "SIGKILL" and _out_of_memory_kills() > self._kills_before:
            return Status.OUT_OF_MEMORY, f"the kernel ended the process for lack of memory while {phase}"
        return Status.CRASHED, f"killed by {name} while {phase}{hint}"

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                with contextlib.suppress(ValueError):  # a line cut short by the child's death
                    self._events.put(json.loads(line))

    def _wait(self) -> None:
        self.exit_status = self._process.wait()
        # What was said before the end is still in the pipe; an orphan that left the session may hold it open for ever.
        self._reader.join(_LAST_WORDS_S)
        self._events.put(ENDED)


def _start(module: str, *arguments: str, log: Path, events: int, threads: int, isolation: str) -> Forked | Spawned:
    if isolation == FORK and sys.platform == "linux":
        try:
            return Forked(module, *arguments, log=log, events=events, threads=threads)
        except NoForkError as error:
            warnings.warn(f"processes are started anew, which takes seconds each: {error}", stacklevel=3)
    return Spawned(module, *arguments, log=log, events=events, threads=threads)


def late(phase: str, timeout_s: float) -> str:
    """Return the reason of a cell that was ended because a phase took too long."""
    return f"{phase} took longer than {timeout_s:g} s; raise --timeout to wait longer"


def _signal_name(number: int) -> str:
    # Signals between SIGRTMIN and SIGRTMAX have no name.
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _out_of_memory_kills(vmstat: Path = Path("/proc/vmstat")) -> int:
    try:
        counters = dict(line.split() for line in vmstat.read_text().splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))
