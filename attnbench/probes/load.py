"""A process that keeps one core busy, to see what a measurement is worth beside one. Imports no torch.

Run as ``python -m attnbench.probes.load PARENT CORE EVENT_FD``; it ends when its parent is another than PARENT.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnbench.child import Child
from attnbench.devices import machine

_START_UP_S = 60.0


@contextmanager
def one_core_busy() -> Iterator[None]:
    """Keep one of the cores that this process may use busy with another process.

    The other process ends with the block, or by itself soon after this process has died.
    """
    core = min(machine.usable_cores())
    with Child("attnbench.probes.load", str(os.getpid()), str(core), log=Path(os.devnull), threads=1) as child:
        child.next_event(timeout_s=_START_UP_S)
        yield


def _spin(parent: int, core: int, event_fd: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [core])
    os.write(event_fd, b'{"event": "busy"}\n')
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


if __name__ == "__main__":
    _spin(*map(int, sys.argv[1:]))
