"""Processes that start from nothing: children with an interpreter of their own, and other people's programs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that say how many threads libraries may use."""


class Spawned:
    """A process with an interpreter of its own, the leader of a session of its own."""

    def __init__(self, module: str, *arguments: str, log: Path, events: int, threads: int) -> None:
        with log.open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments, str(events)],  # -P: where it runs is no library
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                pass_fds=[events],
                start_new_session=True,
                env=environment_for(threads),
            )

    def wait(self) -> int:
        """Wait for the end, end what the process has left behind, and return its exit status."""
        # Not reaped before its session is ended, so that its number is nobody else's.
        if hasattr(os, "waitid"):  # not on macOS before Python 3.13
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """End the process and everything in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def environment_for(threads: int) -> dict[str, str]:
    """Return the variables of a child that may use so many threads."""
    return os.environ | dict.fromkeys(THREADS, str(threads))


def last_line(log: Path) -> str:
    """Return the last line that a process printed into a file, empty if it printed nothing."""
    return log.read_text(errors="replace").strip().rpartition("\n")[2].strip() if log.is_file() else ""


class ProgramError(Exception):
    """A program of somebody else's failed; the message is what it said last."""


def run_program(
    arguments: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> str:
    """Run somebody else's program to its end and return what it prints, without white space around it.

    Raises:
        OSError: there is no such program.
        ProgramError: it fails, takes too long, or prints what is no text.
    """
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise ProgramError(error.stderr.strip().rpartition("\n")[2]) from None
    except (subprocess.SubprocessError, ValueError) as error:
        raise ProgramError(str(error)) from None
    return done.stdout.strip()
