"""A disk that fails below a folder: by refusing what this process does there, or by being a small one in truth.

What opens a file to write it, makes a folder or gives a name is refused before the kernel sees it, by an audit hook;
what is written and synced through a descriptor, in place of the functions of ``os``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Refuse = Callable[[str, str], int | None]
"""Of what is done and a path, the error that the system gives; None lets it pass."""
_REFUSING: list[Refuse] = []
_THROUGH_DESCRIPTORS = ("write", "fsync", "ftruncate")


def _path_of(event: str, arguments: tuple[Any, ...]) -> Any:
    """Return the path that is to be changed, None if nothing is."""
    if event == "open":
        path, mode, flags = arguments
        by_mode = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        return path if by_mode or (not isinstance(mode, str) and flags & (os.O_WRONLY | os.O_RDWR)) else None
    return {"os.mkdir": arguments[:1], "os.rename": arguments[1:2]}.get(event, (None,))[0]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _REFUSING and event in {"open", "os.mkdir", "os.rename"}:
        path = _path_of(event, arguments)
        if isinstance(path, str | bytes | os.PathLike):
            _ask(event, os.fsdecode(path))


def _ask(what: str, path: str) -> None:
    for refuse in _REFUSING:
        if code := refuse(what, path):
            raise OSError(code, os.strerror(code), path)


sys.addaudithook(_hook)


def refuse_below(folder: Path, refuse: Refuse, patch: pytest.MonkeyPatch) -> None:
    """Ask before anything is done below a folder, the folder itself included."""
    below = str(folder)

    def asked(what: str, path: str) -> int | None:
        return refuse(what, path) if path == below or path.startswith(f"{below}/") else None

    def through(usual: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(descriptor: int, *arguments: Any) -> Any:
            with contextlib.suppress(FileNotFoundError):
                _ask(name, str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            return usual(descriptor, *arguments)

        return call

    patch.setattr(sys.modules[__name__], "_REFUSING", [asked])
    for name in _THROUGH_DESCRIPTORS:
        patch.setattr(os, name, through(getattr(os, name), name))


@dataclass
class Steps:
    """What was done below a folder, a step each, and whether it was refused."""

    taken: int = 0
    refused: str = ""
    """What was refused first."""


@contextlib.contextmanager
def failing(folder: Path, code: int, *, at: int, lasting: bool) -> Iterator[Steps]:
    """Have the disk below a folder fail at the n-th step, and at all that follow if it lasts."""
    steps = Steps()

    def refuse(what: str, path: str) -> int | None:
        steps.taken += 1
        if steps.taken < at or (steps.taken > at and not lasting):
            return None
        steps.refused = steps.refused or f"{what} {path}"
        return code

    with pytest.MonkeyPatch.context() as patch:
        refuse_below(folder, refuse, patch)
        yield steps


@contextlib.contextmanager
def small_disk(folder: Path, **limits: int) -> Iterator[Callable[..., None]]:
    """Mount a file system in memory at a folder, and yield what changes its limits.

    Skips the test, with the reason, where this process may not mount: ``failing`` stands for it there.
    """
    folder.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", _options(limits), "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        pytest.skip(f"no disk can be mounted ({said}); the one that refuses stands for it")
    try:
        yield lambda **others: _mount("-o", f"remount,{_options(others)}", str(folder))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _options(limits: dict[str, int]) -> str:
    return ",".join(f"{name}={value}" for name, value in limits.items())


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
