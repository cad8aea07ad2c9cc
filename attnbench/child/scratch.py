"""Folders for what is said between processes, gone with whoever made them, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attnbench.errors import StoreError

_PREFIX = "attnbench-"
_OWNED = ".owned"
"""A file that is locked for as long as the process lives that made the folder."""
_ABANDONED_S = 86_400.0
"""A folder without such a file, where files cannot be locked, is nobody's after so long."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a private folder for as long as the block lasts; those of processes that were killed are removed.

    Raises:
        StoreError: there is no room for one.
    """
    within = tempfile.gettempdir()
    _sweep(within)
    try:
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise StoreError(f"cannot write to {within}: {error.strerror}; make room, or set TMPDIR") from None
    with folder as path, _owned(Path(path)):
        yield Path(path)


@contextlib.contextmanager
def _owned(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            file = held.enter_context((folder / f"{_OWNED}.new").open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / f"{_OWNED}.new").rename(folder / _OWNED)  # locked before anybody looks for it
        yield


@cache
def _sweep(within: str) -> None:
    """Remove the folders that nobody owns any more, once in a process."""
    with contextlib.suppress(OSError), os.scandir(within) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _abandoned(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _abandoned(folder: os.DirEntry[str]) -> bool:
    try:
        about = folder.stat(follow_symlinks=False)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
            return False
        with Path(folder.path, _OWNED).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - about.st_mtime > _ABANDONED_S
    except OSError:
        return False
    return True
