"""What a child says to its parent, and that nobody else says it.

The channel is open to everything that runs in the process: a plugin can write on it, fork, and go on as a second
worker. So every event begins with a secret that comes through the channel before any plugin is loaded and is known to
the function that says events alone; and a process that is not the one that was started says nothing, and ends where it
would.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable

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

    def close_in_a_fork() -> None:
        while held:  # the fork of a fork may have something else under this number
            with contextlib.suppress(OSError):
                os.close(held.pop())

    os.register_at_fork(after_in_child=close_in_a_fork)

    def say(event: Event) -> None:
        if process() != owner:  # a fork that a plugin has let go on
            leave(0)
        line = secret + b" " + encode(event).encode() + b"\n"
        while line:
            line = line[write(descriptor, line) :]

    return say


def _secret(descriptor: int) -> bytes:
    read = b""
    while len(read) < SECRET_BYTES:
        more = os.read(descriptor, SECRET_BYTES - len(read))
        if not more:
            raise ConnectionError("the parent has closed the channel before it said anything")
        read += more
    return read
