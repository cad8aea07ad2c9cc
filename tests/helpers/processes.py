"""What tests ask of processes that others started, and of copies of their own."""

import sys
from pathlib import Path

import pytest

copies_survive = pytest.mark.skipif(
    sys.version_info[:3] == (3, 13, 0),
    reason="in CPython 3.13.0 a copy of a process that has loaded many extension modules dies in atexit._clear",
)


def runs(pid: int) -> bool:
    """Return whether a process is there and does more than wait for its parent to hear of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
