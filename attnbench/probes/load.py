"""A process that keeps one core busy, to see what a measurement is worth beside one. Imports no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from attnbench.devices import machine

_SPIN = """
import os
parent, core = {parent}, {core}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [core])
print(flush=True)
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def one_core_busy() -> Iterator[None]:
    """Keep one of the cores that this process may use busy with another process.

    The other process ends with the block, or by itself soon after this process has died.
    """
    code = _SPIN.format(parent=os.getpid(), core=min(machine.usable_cores()))
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            yield
        finally:
            child.kill()
