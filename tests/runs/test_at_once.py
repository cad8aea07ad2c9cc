"""Streams that are followed at once: everything comes, errors too, and whoever leaves stops them all."""

import threading
from collections.abc import Iterator

import pytest

from attnbench.runs.at_once import at_once


def nothing() -> None:
    """Stop nothing."""


def test_streams_are_followed_at_once_and_everything_comes() -> None:
    met = threading.Barrier(2, timeout=20)

    def stream(first: int) -> Iterator[int]:
        yield first
        met.wait()  # never passed, were they followed one after the other
        yield first + 1

    assert sorted(at_once([stream(0), stream(10)], stop=nothing)) == [0, 1, 10, 11]


def test_what_one_raises_is_raised_and_the_others_are_stopped() -> None:
    stopped = threading.Event()

    def waits() -> Iterator[int]:
        stopped.wait(20)
        yield 0

    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        list(at_once([waits(), fails()], stop=stopped.set))
    assert stopped.is_set()


def test_whoever_leaves_stops_them_and_waits_for_their_end() -> None:
    stopped, ended = threading.Event(), threading.Event()

    def stream() -> Iterator[int]:
        yield 0
        stopped.wait(20)
        ended.set()

    happens = at_once([stream()], stop=stopped.set)
    assert next(happens) == 0
    happens.close()
    assert ended.is_set()
