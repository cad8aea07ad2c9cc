"""Files on disk: what is read from them is bounded and checked, and what is read again is put in place whole. No torch.

Nothing is taken for a file but a file: a pipe would keep its reader waiting for ever. A file that was put in place is
the old one or the new one, whenever the power goes or the disk is full.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from attnbench.reading import MisreadError, from_json, from_toml, structured

T = TypeVar("T")

MOST_BYTES = 2**30
"""Of a file that is read as a text: a hundred times the largest run that was ever measured."""


class UnreadableError(MisreadError):
    """A file cannot be read, or what it holds does not fit; each mistake names the file, and the line where known."""


class NoFileError(OSError):
    """What is there is a pipe, a device or the like."""


def text_of(path: Path, *, errors: str = "strict") -> str:
    """Return the text of a file in UTF-8, without the mark that some editors begin it with.

    Args:
        path: the file.
        errors: what becomes of bytes that are no UTF-8, as ``bytes.decode`` takes it.

    Raises:
        UnreadableError: it is not there, no file, too large, or no text.
    """
    try:
        return bytes_of(path).decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise UnreadableError([f"{path} is no text in UTF-8: {error.reason} at byte {error.start}"]) from None


def bytes_of(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        UnreadableError: it is not there, no file, or too large.
    """
    try:
        with opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise UnreadableError([f"{path} has {size} bytes, more than the {MOST_BYTES} that are read"])
            return file.read()
    except NoFileError:
        raise UnreadableError([f"{path} is no file"]) from None
    except UnreadableError:
        raise
    except (OSError, ValueError) as error:  # no path has a NUL in it
        raise UnreadableError([f"cannot read {path}: {reason_of(error)}"]) from None


def opened(path: Path) -> BinaryIO:
    """Open a file to read its bytes.

    Raises:
        NoFileError: it is a pipe or a device, which would keep its reader waiting for ever.
        OSError: it cannot be opened.
    """
    # A pipe without a writer would be waited for, were it not for the flag.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise NoFileError(errno.EINVAL, "is no file", os.fspath(path))


def json_of(path: Path, kind: type[T]) -> T:
    """Return what a JSON file holds as a frozen type.

    Raises:
        UnreadableError: it cannot be read or does not fit.
    """
    return _named(path, lambda: structured(from_json(text_of(path)), kind))


def toml_of(path: Path, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises:
        UnreadableError: it cannot be read or is no TOML.
    """
    return _named(path, lambda: from_toml(text_of(path), parse_float=parse_float))


def put(path: Path, content: str | bytes, *, sync: bool = False) -> None:
    """Put a file in place: written beside and renamed, so that nobody ever finds half of it.

    Args:
        path: the file; what it links to is replaced, and what is no file, such as ``/dev/stdout``, written to.
        content: bytes, or a text for UTF-8, which says of what has no place in that how it would be escaped.
        sync: whether it is on disk when this returns.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk when this returns, where the file system knows how."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # of folders, some network file systems
            raise
    finally:
        os.close(opened)


def set_aside(path: Path, mark: str, *, but: Callable[[str], bool] = lambda _: False) -> Path:
    """Give a file another name that nothing has, with a mark before its suffix, and return it.

    Args:
        path: the file.
        mark: what the name is to say; a number goes behind it where the name is taken.
        but: of a mark, whether it is not to be taken.

    Raises:
        OSError: it cannot be renamed.
    """
    for number in count(1):
        numbered = f"{mark}-{number}" if number > 1 else mark
        target = path.with_name(f"{path.stem}.{numbered}{path.suffix}")
        if not os.path.lexists(target) and not but(numbered):
            return path.rename(target)
    raise AssertionError("numbers do not end")


def reason_of(error: OSError | ValueError) -> str:
    """Return why the system refused something, in its own words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _named(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except UnreadableError:
        raise
    except MisreadError as error:
        raise UnreadableError([_placed(path, mistake) for mistake in error.mistakes]) from None


def _placed(path: Path, mistake: str) -> str:
    joined = {"line": ", ", "is": " "}.get(mistake.partition(" ")[0], ": ")
    return f"{path}{joined}{mistake}"
