"""Streams of what happens that do not disturb each other, followed at once: cells that are counted, not timed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Final, TypeVar, cast

T = TypeVar("T")
_OVER: Final = object()


def at_once(streams: Sequence[Iterator[T]], *, stop: Callable[[], None]) -> Generator[T, None, None]:
    """Yield what streams give, as it comes, each of them followed by a thread.

    Args:
        streams: what is followed.
        stop: makes all streams end soon. Called when one raises, or when nobody wants more; all have ended afterwards.

    Raises:
        Exception: what a stream raised first.
    """
    come: SimpleQueue[T | BaseException | object] = SimpleQueue()

    def follow(stream: Iterator[T]) -> None:
        try:
            for each in stream:
                come.put(each)
        except BaseException as error:
            come.put(error)
        come.put(_OVER)

    threads = [Thread(target=follow, args=(stream,), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left:
            each = come.get()
            if isinstance(each, BaseException):
                raise each
            if each is _OVER:
                left -= 1
            else:
                yield cast("T", each)
    finally:
        if left:
            stop()
        for thread in threads:
            thread.join()
