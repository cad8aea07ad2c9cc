"""A child process and what it says, read without polling: the parent sleeps until an event, the end, or a deadline."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from attnbench import inert
from attnbench.child import death
from attnbench.child.death import Death
from attnbench.child.ear import Ear, EventTypes
from attnbench.child.forked import Forked, NoForkError
from attnbench.child.patience import Patience
from attnbench.child.spawned import Spawned
from attnbench.devices import cgroups
from attnbench.errors import ProcessError
from attnbench.runs.job import FORK, SPAWN


class Ended(Enum):
    """What comes after the last event."""

    ENDED = auto()


ENDED: Final = Ended.ENDED

_LOG_BYTES = 10_000_000
"""A log that has grown beyond this is set aside before another child adds to it."""
_FAREWELL_S = 15.0
"""What a guardian needs at most to end everything."""
_LONGEST_WAIT_S = 86_400.0


class Child:
    """A module of ours that runs in a process. Use it as a context manager: leaving it ends all that has come of it.

    The module is run as ``python -m MODULE ARGUMENTS... EVENT_FD``, where EVENT_FD is what ``attnbench.child.voice``
    makes its voice of. The child is a session of its own: Ctrl-C reaches the parent alone. It ends when this process
    does, however that ends, and with it all that it has started: see ``attnbench.child.guardian``. What is no event on
    its channel ends the child: see ``attnbench.child.ear``.
    """

    def __init__(
        self, module: str, *arguments: str, events: EventTypes, log: Path, threads: int, isolation: str = SPAWN
    ) -> None:
        """Start the child.

        Args:
            module: what is run.
            arguments: what it is given, the descriptor of its events aside.
            events: what it may say.
            log: file for what the child prints. One that cannot be written is warned of, and nothing is kept.
            threads: intra-op threads, for libraries that read them from the environment.
            isolation: FORK or SPAWN. A fork starts in milliseconds; it shares the layout of its memory with the others.

        Raises:
            ProcessError: there is no process to be had.
        """
        self.log = log
        self.exit_status: int | None = None
        """The child's exit status, negative for a signal; None while it runs, and if its guardian was ended first."""
        self._ended = False
        self._said = ""
        self._heard: deque[Any] = deque()
        self._kills_before = cgroups.out_of_memory_kills()
        self._ear = Ear(events)
        self._control, told = socket.socketpair()
        try:
            with told, self._ear.of_the_child as channel, _printed_to(log) as printed:
                descriptors = {"control": told.fileno(), "log": printed, "events": channel.fileno()}
                self._process = _start(
                    module, *arguments, descriptors=descriptors, threads=threads, isolation=isolation
                )
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise ProcessError(error.strerror or str(error)) from None
            raise

    def next_event(self, *, timeout_s: float) -> Any:  # noqa: ANN401 - of one of the types of its events
        """Return the next event, ENDED after the last one, or None if nothing came in time.

        Time in which this process was stopped does not count: the child was stopped with it.

        Raises:
            ProcessError: there was no process to be had for the child.
        """
        patience = Patience(min(timeout_s, _LONGEST_WAIT_S))
        while not self._heard:
            if self._ended:
                return ENDED
            if self._ear.foreign:
                self.end()
            elif not patience.wait(self._listen):
                return None
        return self._heard.popleft()

    def disbelieve(self, said: str) -> None:
        """End a child for the event that came last, which cannot be; what it has said since is dropped."""
        self._ear.disbelieve(said)
        self._heard.clear()
        self.end()

    def end(self) -> None:
        """End the child and everything that it has started, at once."""
        with contextlib.suppress(OSError):  # its guardian has gone before
            self._control.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _FAREWELL_S
        while not self._ended:
            if not self._listen(deadline - time.monotonic()):
                self._process.kill()  # somebody has stopped the guardian; the kernel ends the child with it
                deadline = time.monotonic() + _FAREWELL_S

    def dismiss(self) -> None:
        """Make the child end soon, from whichever thread: the one that waits for its events hears its end."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        force = threading.Timer(_FAREWELL_S, lambda: None if self._ended else self._process.kill())
        force.daemon = True
        force.start()

    def death(self, phase: str) -> Death:
        """Return what a child that has ended before its time died of while it was in a phase."""
        kills, before = cgroups.out_of_memory_kills(), self._kills_before
        return death.of(
            self.exit_status,
            phase=phase,
            said=self._said,
            foreign=self._ear.foreign,
            memory_ran_out=kills is not None and before is not None and kills > before,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._close()

    def _listen(self, timeout_s: float) -> bool:
        """Wait for something to be said or to end; return whether it came in time."""
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        if self._ear.open:
            waiting.register(self._ear.socket, select.POLLIN)
        ready = [descriptor for descriptor, _ in waiting.poll(max(0.0, timeout_s) * 1000)]
        self._heard += self._ear.hear()
        if self._control.fileno() in ready:
            self._bury()
        return bool(ready)

    def _bury(self) -> None:
        """Take in what the guardian tells of the end; it tells nothing if it was killed."""
        told = b""
        with contextlib.suppress(ConnectionError):
            while data := self._control.recv(65536):
                told += data
        self._process.bury()
        self._heard += self._ear.hear()  # said before the end
        self._ended = True
        end: Mapping[str, Any] = json.loads(told) if told else {}
        if "failed" in end:
            raise ProcessError(end["failed"])
        self.exit_status = end.get("status")
        self._said = inert.brief(_last_line(end.get("said", "")))

    def _close(self) -> None:
        self._ear.close()
        self._control.close()


def _start(
    module: str, *arguments: str, descriptors: Mapping[str, int], threads: int, isolation: str
) -> Forked | Spawned:
    if isolation == FORK and sys.platform == "linux":
        try:
            return Forked(module, *arguments, descriptors=descriptors, threads=threads)
        except NoForkError as error:
            warnings.warn(f"processes are started anew, which takes seconds each: {error}", stacklevel=3)
    return Spawned(module, *arguments, descriptors=descriptors, threads=threads)


@contextlib.contextmanager
def _printed_to(log: Path) -> Iterator[int]:
    """Yield the descriptor of a log, of nothing where it cannot be written; one that is too large is set aside."""
    try:
        if log.is_file() and log.stat().st_size > _LOG_BYTES:
            aside = log.with_suffix(f".old{log.suffix}")
            log.replace(aside)
            log.write_text(f"[attnbench: what was printed before is in {aside.name}]\n")
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        warnings.warn(f"what processes print is not kept: cannot write {log}: {error.strerror}", stacklevel=4)
        file = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _last_line(said: str) -> str:
    return said.strip().rpartition("\n")[2]


def late(phase: str, timeout_s: float) -> str:
    """Return the reason of a cell that was ended because a phase took too long."""
    return f"{phase} took longer than {timeout_s:g} s; raise --timeout to wait longer"
