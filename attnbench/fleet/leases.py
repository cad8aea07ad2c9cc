"""Who has taken which group: a file each under ``leases/``, made if it is not there.

Every file system makes it for one alone. A lease is never changed, renamed or removed, so that no two can disagree
about it: who takes a group over from a worker that went silent makes the next one, ``GROUP.2`` after ``GROUP.1``, and
the highest holds. No locks, no clocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnbench import files
from attnbench.fleet.presence import WorkerFacts
from attnbench.reading import MisreadError

LEASES = "leases"
_NAME = re.compile(r"(?P<group>[0-9a-f]{16})\.(?P<number>\d{1,6})(?P<over>\.over)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLease:
    """The lease that holds of a group."""

    group: str
    number: int
    over: bool = False
    """Whether its worker has let it go, done or not."""


class Leases:
    """The leases of a run's folder, for one worker."""

    def __init__(self, folder: Path, facts: Path) -> None:
        """Open them, making the folder if need be.

        Args:
            folder: of the run.
            facts: the file in which the worker says who it is: its leases are other names of it.

        Raises:
            OSError: they cannot be written.
        """
        self._folder = folder / LEASES
        self._facts = facts
        self._folder.mkdir(parents=True, exist_ok=True)

    def take(self, group: str, number: int) -> bool:
        """Take a lease if nobody has, and return whether that was done.

        Raises:
            OSError: it cannot be written.
        """
        path = self._folder / f"{group}.{number}"
        try:
            os.link(self._facts, path)
        except FileExistsError:
            # The answer to a link that was made may get lost on its way over a network, and be asked for again.
            with contextlib.suppress(OSError):
                return path.samefile(self._facts)
            return False
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.ENOENT}:
                raise
            return self._take_without_links(path)  # no file system of this kind has to know links, or so many
        return True

    def holds(self, group: str, number: int) -> bool:
        """Return whether nobody has taken a group over."""
        return not (self._folder / f"{group}.{number + 1}").exists()

    def let_go(self, group: str, number: int) -> None:
        """Say that a group is worked on no more.

        Raises:
            OSError: it cannot be written.
        """
        (self._folder / f"{group}.{number}.over").touch()

    def _take_without_links(self, path: Path) -> bool:
        try:
            with path.open("xb") as file:
                file.write(self._facts.read_bytes())
        except FileExistsError:
            return False
        return True


def held(folder: Path) -> Mapping[str, GroupLease]:
    """Return the lease that holds of each group that was ever taken."""
    found: dict[str, GroupLease] = {}
    over: set[tuple[str, int]] = set()
    with contextlib.suppress(FileNotFoundError), os.scandir(folder / LEASES) as entries:
        for entry in entries:
            if match := _NAME.fullmatch(entry.name):
                group, number = match["group"], int(match["number"])
                if match["over"]:
                    over.add((group, number))
                elif group not in found or found[group].number < number:
                    found[group] = GroupLease(group=group, number=number)
    return {
        group: GroupLease(group=group, number=lease.number, over=(group, lease.number) in over)
        for group, lease in found.items()
    }


def holder(folder: Path, lease: GroupLease) -> WorkerFacts | None:
    """Return whose a lease is; None where it does not say so yet."""
    try:
        return files.json_of(folder / LEASES / f"{lease.group}.{lease.number}", WorkerFacts)
    except MisreadError:
        return None
