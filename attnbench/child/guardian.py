"""Watches over one child: ends it with all that it has started when its time is over, or when its parent is gone.

A process of its own between the parent and the child, so that neither has to be believed or alive. Whatever the child
starts, in whatever session, falls to the guardian when it is orphaned, and ends. The guardian ends the child when the
parent closes its end of the control socket or is no more (the kernel says so by a descriptor of that process, which no
copy of the socket can delay), and the kernel ends the child when the guardian is killed. None of this asks anything of
the child, which may hang in C with the interpreter locked; and no thread and no wake-up is added to what is measured.

What the child prints goes through here, so that a log has a bound and its last words are those of this child.

Imports nothing but the standard library: where a child starts from nothing, this file is run by itself, as
``python -I -S guardian.py CONFIGURATION``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

LOG_BYTES = 1_000_000
"""Of what a child prints, so much is kept from its beginning."""
TAIL_BYTES = 50_000
"""And so much from its end."""
LAST_WORDS_BYTES = 4096
_PARENT_DIED, _SUBREAPER = 1, 36
"""PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER."""
_PATIENCE_S = 10.0
"""For what has been killed to be gone; what waits in the kernel for a disk may not be."""
_CHUNK = 65536


def watch(*, control: int, log: int, events: int, parent: int) -> None:
    """Fork the child and return in it alone; this process goes on as its guardian until all is over.

    Args:
        control: socket to the parent; the child's end is told on it, and its being closed means that time is over.
        log: file for what the child prints.
        events: what only the child keeps.
        parent: number of the process that wants the child.
    """
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, lambda *_: None)  # not ignored: a program that is executed would go on ignoring it
    adopt_orphans()
    reading, writing = os.pipe()
    guardian = os.getpid()
    try:
        number = os.fork()
    except OSError as error:
        _tell(control, {"failed": error.strerror or str(error)})
        os._exit(1)
    if number == 0:
        _be_the_child(guardian, output=writing, closed=(reading, control, log))
        return
    os.close(writing)
    os.close(events)
    _Guardian(child=number, control=control, output=reading, log=_Log(file=log), parent=_parent(parent)).stay()


def _be_the_child(guardian: int, *, output: int, closed: tuple[int, ...]) -> None:
    os.setsid()
    _prctl(_PARENT_DIED, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor in (output, *closed):
        os.close(descriptor)


@dataclass(slots=True, kw_only=True)
class _Log:
    """A file with a bound: the beginning of what is printed, and its end."""

    file: int
    printed: int = 0
    end: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        self._write(data[: max(0, LOG_BYTES - self.printed)])
        self.printed += len(data)
        self.end += data
        del self.end[:-TAIL_BYTES]

    def close(self) -> None:
        beyond = self.printed - LOG_BYTES
        if beyond > 0:
            left_out = max(0, beyond - len(self.end))
            self._write(f"\n[attnbench: {left_out:,} bytes that were printed here are left out]\n".encode())
            self._write(bytes(self.end[-beyond:]))

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the log, not the measurement
            while data:
                data = data[os.write(self.file, data) :]


@dataclass(slots=True, kw_only=True)
class _Guardian:
    child: int
    control: int
    output: int | None
    """What the child prints; None once everybody who could print has closed it."""
    log: _Log
    parent: int | None
    """A descriptor that can be read once the parent is gone; None where the kernel has none."""
    status: int | None = None

    def stay(self) -> NoReturn:
        """Wait for the child's end or bring it about, end what it has left behind, and tell the parent."""
        waking, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken)
        self._reap()  # it may have ended before this was set
        over = [self.control] + ([] if self.parent is None else [self.parent])
        while self.status is None:
            output = [] if self.output is None else [self.output]
            ready, _, _ = select.select([*over, waking, *output], [], [])
            if self.output in ready:
                self._copy()
            if waking in ready:
                os.read(waking, _CHUNK)
                self._reap()
            if any(each in ready for each in over):
                break
        self._end_all()
        self._copy_the_rest()
        said = self.log.end[-LAST_WORDS_BYTES:].decode(errors="replace")
        _tell(self.control, {"status": self.status, "said": said})
        os._exit(0)

    def _reap(self) -> bool:
        """Bury who has ended; return whether anybody is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                number, status = os.waitpid(-1, os.WNOHANG)
                if number == 0:
                    return True
                if number == self.child:
                    self.status = os.waitstatus_to_exitcode(status)
        return False

    def _end_all(self) -> None:
        """End the child and what descends from it: who is orphaned by a death becomes a child of this process."""
        patience = time.monotonic() + _PATIENCE_S
        while True:
            if self.status is None:  # its number is its own until it is buried
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.child, signal.SIGKILL)
            end_by_force(descendants())
            if not self._reap() or time.monotonic() > patience:
                return
            time.sleep(0.002)

    def _copy(self) -> bool:
        """Take a piece of what is printed into the log; return whether there may be more."""
        assert self.output is not None
        try:
            data = os.read(self.output, _CHUNK)
        except BlockingIOError:
            return False
        self.log.add(data)
        if not data:
            os.close(self.output)
            self.output = None
        return bool(data)

    def _copy_the_rest(self) -> None:
        if self.output is not None:
            os.set_blocking(self.output, False)  # what could not be ended may hold it open
            while self._copy():
                pass
        self.log.close()


def descendants(*, but: Collection[int] = ()) -> list[int]:
    """Return the numbers of all processes below this one, as far as /proc says.

    Args:
        but: children that are left out, with what is below them.
    """
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):  # gone by now
                parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, below = [], [os.getpid()]
    while below:
        below = [number for parent in below for number in parents.get(parent, ()) if number not in but]
        found += below
    return found


def end_by_force(numbers: Iterable[int]) -> None:
    """End processes, as far as they are there and may be ended."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(number, signal.SIGKILL)


def adopt_orphans() -> None:
    """Have whatever descends from this process become its child when its own parent ends."""
    _prctl(_SUBREAPER, 1)


def _parent(number: int) -> int | None:
    try:
        return os.pidfd_open(number)  # type: ignore[attr-defined, unused-ignore] # not on macOS
    except (AttributeError, OSError):
        return None


def _tell(control: int, end: dict[str, object]) -> None:
    with socket.socket(fileno=control) as channel, contextlib.suppress(OSError):  # nobody listens any more
        channel.sendall(json.dumps(end).encode())


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main(configuration: str) -> None:
    """Watch over a program that starts from nothing."""
    asked = json.loads(configuration)
    watch(**{name: asked[name] for name in ("control", "log", "events", "parent")})
    os.execv(asked["program"][0], asked["program"])  # noqa: S606 - a list that the parent has made


if __name__ == "__main__":
    main(sys.argv[1])
