"""Standard output as it may be: a terminal without our letters, a reader that has left, a device that is full.

What is shown goes there as well as it allows. That it fails costs nothing else: measuring goes on, and files are
written.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress

from attnbench import inert


class Outlet(io.RawIOBase):
    """A descriptor that is written to until it fails, and what goes there after that is left out."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.failure: OSError | None = None
        """Why something could not be written; None if all could."""

    def writable(self) -> bool:
        """It is there to be written."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, content: object) -> int:
        """Write some of the bytes, or none of them once it has failed, and return how many are done with."""
        data = bytes(content)  # type: ignore[call-overload]  # a buffer, as io's own signature cannot say
        if self.failure is not None:
            return len(data)
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # whoever shares the descriptor has set it not to wait
            select.select([], [self._descriptor], [])
            return os.write(self._descriptor, data[: select.PIPE_BUF])
        except OSError as error:
            self.failure = error
            return len(data)


def guard() -> Outlet | None:
    """Put an outlet in the place of each standard stream, and return that of the output.

    None where the streams are somebody else's, a test's or a notebook's, or closed.
    """
    _open_what_is_closed()
    found = None
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "w"))))
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue
        outlet = Outlet(stream.fileno())
        text = io.TextIOWrapper(
            io.BufferedWriter(outlet),
            encoding=stream.encoding,
            errors=inert.NEAREST,
            line_buffering=stream.line_buffering or name == "stderr",
        )
        with suppress(OSError):
            stream.flush()
        setattr(sys, name, text)
        found = outlet if name == "stdout" else found
    return found


def _open_what_is_closed() -> None:
    """Open the null device as each standard descriptor that is closed.

    The next file that is opened would be given its number, a run's records perhaps, and with it what others print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def lost(outlet: Outlet | None) -> OSError | None:
    """Return why some of what was shown went nowhere; None if it did not, or nobody can tell."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    return outlet.failure if outlet else None
