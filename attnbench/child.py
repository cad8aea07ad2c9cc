"""A worker process and what it says, read without polling: the parent sleeps until an event, the end, or a deadline."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from attnbench.run.job import Event

ENDED: Final[Event] = {"event": "ended"}
_LAST_WORDS_S = 1.0


class Worker:
    """A child that does a job. Use it as a context manager: leaving it ends the child and its descendants."""

    def __init__(self, job: Path, *, log: Path, threads: int, module: str = "attnbench.worker.main") -> None:
        """Start the child.

        Args:
            job: file that holds the Job.
            log: file for what the child prints. A pipe would be held open by whatever the child leaves behind.
            threads: intra-op threads, for libraries that read them from the environment.
            module: module run as ``python -m``.
        """
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._kills_before = _out_of_memory_kills()
        receiving, sending = os.pipe()
        with log.open("ab") as printed:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(job), str(sending)],  # -P: the folder it runs in is no library
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                pass_fds=[sending],
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the whole session
                env=os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
            )
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

    @property
    def exit_status(self) -> int | None:
        """The child's exit status, negative for a signal; None while it runs."""
        return self._child.returncode

    @property
    def memory_ran_out(self) -> bool:
        """Whether the kernel has ended any process for lack of memory since this one was started."""
        return _out_of_memory_kills() > self._kills_before

    def end(self) -> None:
        """End the child and everything in its session at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._waiter.join()

    def __enter__(self) -> Worker:
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
        self._child.wait()
        # What was said before the end is still in the pipe; an orphan may hold it open for ever.
        self._reader.join(_LAST_WORDS_S)
        self._events.put(ENDED)


def _out_of_memory_kills(vmstat: Path = Path("/proc/vmstat")) -> int:
    try:
        counters = dict(line.split() for line in vmstat.read_text().splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))


def last_line(log: Path) -> str:
    """Return the last line that a child printed, empty if it printed nothing."""
    lines: Sequence[str] = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].strip() if lines else ""
