"""What this process has taken of the system's memory, whoever in it asked.

Imports no torch.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import NamedTuple

_STATM = "proc/self/statm"


class Taken(NamedTuple):
    """Memory that is in use at one time, in bytes."""

    allocated: int
    """What the C library's allocator has handed out and not got back: torch's tensors on a CPU, numpy's arrays."""
    mapped: int | None
    """What is mapped past that allocator: ``mmap``, files, stacks, code. None where it changed while it was read."""


class _Mallinfo(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    )


class TakenMemory:
    """Reads what this process has taken, in some microseconds. On Linux, with glibc from 2.33 on.

    Freed memory that the allocator keeps is not in it, so that it says nothing of how blocks came to lie: the resident
    size of a process grows by as much again as its tensors take where those of different sizes take turns.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """Open the account.

        Raises:
            OSError: this system does not say.
        """
        try:
            self._mallinfo = ctypes.CDLL(None).mallinfo2
        except (AttributeError, OSError, TypeError):
            raise OSError("the C library does not say what its allocator has handed out") from None
        self._mallinfo.restype = _Mallinfo
        self._file = os.open(root / _STATM, os.O_RDONLY)
        self._page = os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Close the account."""
        os.close(self._file)

    def read(self) -> Taken:
        """Return what is in use now."""
        before = self._mallinfo()
        size = int(os.pread(self._file, 64, 0).split()[0]) * self._page
        after = self._mallinfo()
        held = after.arena + after.hblkhd
        return Taken(
            allocated=after.uordblks + after.hblkhd,
            mapped=size - held if held == before.arena + before.hblkhd else None,
        )
