"""A process that keeps one core busy, to see what a measurement is worth beside one. Imports no torch.

Run as ``python -m attnbench.probes.load CORE EVENT_FD``; it ends with its parent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnbench.child import Child, Reached, voice
from attnbench.devices import machine

_START_UP_S = 60.0


@contextmanager
def one_core_busy() -> Iterator[None]:
    """Keep one of the cores that this process may use busy with another process.

    The other process ends with the block, or with this process.
    """
    core, events = min(machine.usable_cores()), {"busy": Reached}
    with Child("attnbench.probes.load", str(core), events=events, log=Path(os.devnull), threads=1) as child:
        child.next_event(timeout_s=_START_UP_S)
        yield


def _spin(core: int, channel: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [core])
    voice.opened(channel)({"event": "busy"})
    while True:
        pass


if __name__ == "__main__":
    _spin(*map(int, sys.argv[1:]))
