"""What a child says to its parent, and that nobody else says it.

The channel is open to everything that runs in the process: a plugin can write on it, fork, and go on as a second
worker. So every event begins with a secret that comes through the channel before any plugin is loaded and is known to
the function that says events alone. A fork that a plugin lets go on as a second worker ends as soon as it comes back to
the harness; one that is made behind Python's back says nothing, and ends where it would.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from types import FrameType

from attnbench.runs.job import Event

Say = Callable[[Event], None]

SECRET_BYTES = 32
"""Length of the secret, as it is sent: hexadecimal digits."""


def opened(descriptor: int) -> Say:
    """Return what says events to the parent.

    Args:
        descriptor: of the channel, as it was given to this process. Nothing that is executed from here inherits it.
    """
    # Bound here: a plugin may put its own functions in the places of these.
    encode, write, process, leave = json.JSONEncoder().encode, os.write, os.getpid, os._exit
    secret, owner = _secret(descriptor), process()
    os.set_inheritable(descriptor, False)
    held = [descriptor]

    def in_a_fork() -> None:
        while held:  # the fork of a fork may have something else under this number
            with contextlib.suppress(OSError):
                os.close(held.pop())
        _end_where_it_comes_back()

    os.register_at_fork(after_in_child=in_a_fork)

    def say(event: Event) -> None:
        if process() != owner:
            leave(0)
        line = secret + b" " + encode(event).encode() + b"\n"
        while line:
            line = line[write(descriptor, line) :]

    return say


def _end_where_it_comes_back() -> None:
    """Have this fork end as soon as what has forked it returns to the harness, by an exception or not."""
    below, frame = set[FrameType](), sys._getframe()  # noqa: SLF001 - the only way to them
    while frame.f_back is not None:
        frame = frame.f_back
        module = str(frame.f_globals.get("__name__"))
        if module == "multiprocessing.popen_fork":  # which ends its process by itself
            return
        if module.partition(".")[0] == "attnbench" and module != __name__:
            below.add(frame)

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_back in below:
            os._exit(0)

    sys.setprofile(watch)


def _secret(descriptor: int) -> bytes:
    read = b""
    while len(read) < SECRET_BYTES:
        more = os.read(descriptor, SECRET_BYTES - len(read))
        if not more:
            raise ConnectionError("the parent has closed the channel before it said anything")
        read += more
    return read
