"""Processes that start from nothing: children with an interpreter of their own, and other people's programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache

from attnbench.child import guardian
from attnbench.errors import InstallationError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that say how many threads libraries may use."""
_IMPORT_S = 300.0


class Spawned:
    """A child with an interpreter of its own, under a guardian with one as well."""

    def __init__(self, module: str, *arguments: str, descriptors: Mapping[str, int], threads: int) -> None:
        """Start the guardian, which starts the child.

        Args:
            module: what the child runs.
            arguments: what it is given, the descriptor of its events aside.
            descriptors: ``control``, ``log`` and ``events``, as ``attnbench.child.guardian`` wants them.
            threads: intra-op threads.

        Raises:
            OSError: there is no process to be had.
        """
        events = descriptors["events"]
        # -P: where it runs is no library
        program = [sys.executable, "-P", "-m", module, *arguments, str(events)]
        watched = {"program": program, "parent": os.getpid(), **descriptors}
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, json.dumps(watched)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptors["log"],
            pass_fds=list(descriptors.values()),
            start_new_session=True,
            env=environment_for(threads),
        )

    def kill(self) -> None:
        """End the guardian by force, and the child with it."""
        self._guardian.kill()

    def bury(self) -> None:
        """Take leave of a guardian that has told the end or was killed."""
        self._guardian.wait()


def environment_for(threads: int) -> dict[str, str]:
    """Return the variables of a child that may use so many threads."""
    return os.environ | dict.fromkeys(THREADS, str(threads))


@cache
def check_torch() -> None:
    """Make sure that torch can be had, where a process has ended that loads it before anything of anybody's.

    Raises:
        InstallationError: it does not import, with what it says.
    """
    try:
        run_program([sys.executable, "-P", "-c", "import torch"], timeout_s=_IMPORT_S)
    except ProgramError as error:
        raise InstallationError("torch", str(error)) from None


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
