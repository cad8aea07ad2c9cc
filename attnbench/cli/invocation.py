"""What a command has of the process that it runs in: console, threads, itself as it was typed, exit statuses.

Importing it imports neither torch nor rich.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

GATE_FAILED = 1
UNUSABLE = 2
STRICT_FAILED = 3
INTERRUPTED = 130


def console() -> Console:
    """Return where a command shows what it has to say."""
    from attnbench.report import console as consoles  # noqa: PLC0415 - rich: half of what --help takes

    return consoles.console()


def default_threads() -> int:
    """Return the CPU threads that are used where none are asked for."""
    from attnbench.plan import given  # noqa: PLC0415

    return given.default_threads()


def command_line() -> str:
    """Return the command as it could be typed again."""
    return shlex.join(["attnbench", *sys.argv[1:]])
