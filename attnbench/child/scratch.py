"""Folders for what is said between processes, gone with whoever made them, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attnbench.errors import StoreError

_PREFIX = "attnbench-"
_OWNED = ".owned"
"""A file that is locked for as long as the process lives that made the folder."""
_TO_BE_OWNED = ".owned.new"
"""Its name until it is locked."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a private folder for as long as the block lasts; those of processes that were killed are removed.

    Raises:
        StoreError: there is no room for one.
    """
    try:
        within = tempfile.gettempdir()
    except FileNotFoundError as error:  # tempfile tries whether it can write a few bytes
        raise StoreError(f"no room for temporary files: {error.strerror}; make room, or set TMPDIR") from None
    _sweep(within)
    with contextlib.ExitStack() as held:
        try:
            folder = _made(held)
        except OSError as error:
            raise StoreError(f"cannot write to {within}: {error.strerror}; make room, or set TMPDIR") from None
        yield folder


def _made(held: contextlib.ExitStack) -> Path:
    while True:
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        path = Path(held.enter_context(folder))
        if _owned(path, held):
            return path


def _owned(folder: Path, held: contextlib.ExitStack) -> bool:
    """Own a folder; return whether it is still there: until it is locked, others take it for one of the killed."""
    try:
        file = held.enter_context((folder / _TO_BE_OWNED).open("wb"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _TO_BE_OWNED).rename(folder / _OWNED)
    except (FileNotFoundError, BlockingIOError):
        return False
    except OSError:
        pass  # where files cannot be locked nobody removes what others have made
    return True


@cache
def _sweep(within: str) -> None:
    """Remove the folders that nobody owns any more, once in a process."""
    with contextlib.suppress(OSError), os.scandir(within) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _abandoned(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _abandoned(folder: os.DirEntry[str]) -> bool:
    """Whether the process that made a folder is gone. No times are compared: clocks are set."""
    try:
        about = folder.stat(follow_symlinks=False)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
            return False
        if stat.S_IMODE(about.st_mode) == stat.S_IRWXU:
            with contextlib.suppress(OSError):  # it is not empty
                Path(folder.path).rmdir()
        for name in (_OWNED, _TO_BE_OWNED):
            with contextlib.suppress(FileNotFoundError), Path(folder.path, name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
    except OSError:
        pass
    return False
