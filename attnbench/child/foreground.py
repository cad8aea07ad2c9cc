"""A command of ours that a process runs and waits for, and that does not outlive it."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

_PARENT_DIED = 1
"""PR_SET_PDEATHSIG."""
_LOOK_S = 0.1


class Foreground:
    """``attnbench`` with some arguments, as a process below this one."""

    def __init__(
        self, arguments: Sequence[str], *, log: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            arguments: what ``attnbench`` is given.
            log: a file to which what it prints is added; None for where this process prints.
            environment: its variables; those of this process if None.

        Raises:
            OSError: there is no process to be had, or the log cannot be written.
        """
        parent = os.getpid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666) if log else None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "attnbench", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                preexec_fn=lambda: _prepare(parent),  # noqa: PLW1509 - whoever starts one has no other threads at work
            )
        finally:
            if output is not None:
                os.close(output)

    def poll(self) -> int | None:
        """Return its exit status, None while it lives."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for its end and return its exit status; what interrupts this process interrupts that one, too."""
        before = signal.signal(signal.SIGTERM, self._pass_on)
        try:
            while (status := self.poll()) is None:  # a handler of signals may wait within this, where wait would block
                time.sleep(_LOOK_S)
        except BaseException:
            self.stop()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
        return status

    def stop(self, *, patience_s: float = 30.0) -> None:
        """Interrupt it, so that it lets go of what it has in hand, and wait for its end; by force if it takes long."""
        self._pass_on()
        for _ in range(math.ceil(patience_s / _LOOK_S)):
            if self.poll() is not None:
                return
            time.sleep(_LOOK_S)
        self._process.kill()

    def _pass_on(self, *_: int | FrameType | None) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)


def _prepare(parent: int) -> None:
    """Between fork and exec: end with the parent, and let pass what schedulers warn by, which is meant for them."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
