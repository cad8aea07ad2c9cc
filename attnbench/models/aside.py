"""Work that is done in a thread of its own, where the stack holds nothing of whoever asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """Do some work in a thread, and return its result or raise its error.

    Raises:
        RuntimeError: it raised what would end its thread and no more, such as SystemExit.
    """
    found: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            found.append(work())
        except BaseException as error:  # a plugin may raise anything
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    for error in errors:
        if isinstance(error, Exception):
            raise error
        raise RuntimeError(f"{type(error).__name__} {error}".strip()) from error
    return found[0]
