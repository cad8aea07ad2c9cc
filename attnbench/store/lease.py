"""The right to write a folder, on file systems where files cannot be locked: a file that its writer keeps renewing.

It is made if it is not there, which every file system does for one process alone. A writer that is silent for a while
has lost it, as has one of this machine that is gone. Each renewal leaves another time on the file: whoever wants the
lease watches, by a clock of its own that no one sets, whether that changes. The times themselves, which jump as clocks
are set, only say whether watching is worth while.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from attnbench import files
from attnbench.errors import StoreError
from attnbench.reading import MisreadError

LEASE = "writing.lease"
UNLOCKABLE = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
"""What ``flock`` says where there are no locks: some network file systems, and those of user space."""

_BEAT_S, _SILENT_S, _WATCH_S = 15.0, 120.0, 40.0
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who holds a lease."""

    token: str
    pid: int
    host: str
    processes: str
    """Among which processes ``pid`` means something: containers of one machine have numbers of their own."""

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended: a process of this machine that is not there."""
        if (self.host, self.processes) != _here():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False


class Lease:
    """A lease that is held, and renewed by a thread until it is released."""

    def __init__(
        self, folder: Path, *, beat_s: float = _BEAT_S, silent_s: float = _SILENT_S, watch_s: float = _WATCH_S
    ) -> None:
        """Take the lease of a folder.

        Args:
            folder: to be written.
            beat_s: seconds between renewals.
            silent_s: seconds without one, by the file's time, after which another writer's lease may be over.
            watch_s: seconds without one, by a clock of this process, after which it is: several renewals long.

        Raises:
            StoreError: another process holds it.
            OSError: it cannot be written.
        """
        self.path = folder / LEASE
        host, processes = _here()
        self.writer = Writer(token=secrets.token_hex(8), pid=os.getpid(), host=host, processes=processes)
        if not self._made():
            self._take_over(silent_s, watch_s)
        self._over = threading.Event()
        threading.Thread(target=_beat, args=(self.path, self._over, beat_s), daemon=True, name="lease").start()

    def check(self) -> None:
        """Make sure that it is held still.

        Raises:
            StoreError: it was silent for too long, and another process writes.
        """
        if _holder(self.path) != self.writer:
            raise StoreError(
                f"another attnbench has taken {self.path.parent} over while this one was held up; "
                "run the same command again when it is done"
            )

    def release(self) -> None:
        """Let the next one write."""
        self._over.set()
        with contextlib.suppress(OSError):
            if _holder(self.path) == self.writer:
                self.path.unlink()

    def _made(self) -> bool:
        """Make the file, whole at once, if there is none."""
        beside = self.path.with_name(f".{self.writer.token}.tmp")
        beside.write_text(json.dumps(asdict(self.writer)))
        try:
            os.link(beside, self.path)
        except FileExistsError:
            return False
        except OSError:  # no file system of this kind has to know links
            return self._made_without_links(beside.read_bytes())
        finally:
            beside.unlink()
        return True

    def _made_without_links(self, content: bytes) -> bool:
        try:
            with self.path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def _take_over(self, silent_s: float, watch_s: float) -> None:
        """Put a lease aside that is over, and make one anew; of two who do so at once, one finds the other's."""
        holder, silent = _holder(self.path), _silent_s(self.path)
        gone, who = bool(holder and holder.gone), _who(holder)
        if 0 <= silent < silent_s and not gone:
            raise StoreError(
                f"another attnbench is writing {self.path.parent}: {who}; wait for it or give --out. "
                f"If it is no more, its lease ends in {silent_s - silent:.0f} s"
            )
        if not gone and _is_renewed(self.path, watch_s):
            raise StoreError(f"another attnbench is writing {self.path.parent}: {who}; wait for it or give --out")
        aside = self.path.with_name(f".{self.writer.token}.over")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
            if _holder(aside) != holder:
                aside.rename(self.path)
            aside.unlink(missing_ok=True)
        if not self._made():
            raise StoreError(f"another attnbench is writing {self.path.parent}; wait for it or give --out")


def held(folder: Path, lock: Callable[[], None], said: Callable[[str], None]) -> Lease | None:
    """Hold a folder by a lock, or by a lease where there are no locks.

    Args:
        folder: to be written.
        lock: takes the lock, or raises as ``flock`` does.
        said: told that it is a lease, and why.

    Raises:
        BlockingIOError: another process has the lock.
        StoreError: another process holds the lease.
        OSError: neither can be had.
    """
    try:
        lock()
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
        lease = Lease(folder)
        said(
            f"{folder} is on a file system without locks (flock: {files.reason_of(error)}); a file that is renewed, "
            f"{LEASE}, keeps other writers out instead"
        )
        return lease
    return None


def _beat(path: Path, over: threading.Event, beat_s: float) -> None:
    while not over.wait(beat_s):
        with contextlib.suppress(OSError):
            os.utime(path)


def _who(holder: Writer | None) -> str:
    return f"process {holder.pid} on {holder.host}" if holder else "it has not said who it is"


def _here() -> tuple[str, str]:
    try:
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        processes = ""
    return socket.gethostname(), processes


def _holder(path: Path) -> Writer | None:
    """Return who holds a lease, None if nobody does or it cannot be read."""
    try:
        return files.json_of(path, Writer)
    except MisreadError:
        return None


def _is_renewed(path: Path, watch_s: float) -> bool:
    """Watch a lease for so long, by a clock that nobody sets, and return whether it was renewed or is another's."""
    warnings.warn(f"{path} was not renewed of late; watching for {watch_s:.0f} s whether it is", stacklevel=2)
    before, until = _mark(path), time.monotonic() + watch_s
    while (now := time.monotonic()) < until:
        time.sleep(min(_LOOK_S, until - now))
        if _mark(path) != before:
            return True
    return False


def _mark(path: Path) -> tuple[int, int] | None:
    """Return what each renewal changes, None where there is no lease."""
    try:
        with files.opened(path) as file:  # network file systems ask anew when a file is opened, and not for its name
            found = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _silent_s(path: Path) -> float:
    """Return how long a lease was not renewed, by the file system's own clock."""
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    beside.touch()
    try:
        return beside.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf
    finally:
        beside.unlink()
