"""A copy of this very process, which looks at things one by one and says what it finds, while the process goes on.

It is made where nothing of the process is strange: by a child that has started no thread and loaded no plugin.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

T = TypeVar("T")
Found = TypeVar("Found")
_PATIENCE_S = 20.0


def can_be_made() -> bool:
    """Return whether a process can go on as two here: elsewhere than on Linux, libraries forbid it."""
    return sys.platform == "linux"


@contextlib.contextmanager
def looking(
    things: Sequence[T], look: Callable[[T], Found], *, patience_s: float = _PATIENCE_S
) -> Iterator[Answers[Found]]:
    """Have a copy of this process look at things, which ends when the block is left.

    Args:
        things: in the order in which their answers are wanted.
        look: gives what is found of one, which pickle can take; what it raises costs that answer alone.
        patience_s: how long is waited for what the copy is at work on.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    copy = multiprocessing.get_context("fork").Process(target=_look, args=(things, look, there), daemon=True)
    copy.start()
    there.close()
    try:
        yield Answers(come=here, patience_s=patience_s)
    finally:
        copy.kill()
        copy.join()
        here.close()


@dataclass(slots=True, kw_only=True)
class Answers(Generic[Found]):
    """What a copy has said so far."""

    come: Connection
    patience_s: float
    found: dict[int, Found | None] = field(default_factory=dict)

    def of(self, place: int) -> Found | None:
        """Return what was found of a thing, as soon as it is; None if it raised, or the copy has come to nothing."""
        with contextlib.suppress(EOFError, OSError):  # it has ended: what it has not said is not known
            while place not in self.found and self.come.poll(self.patience_s):
                answered, answer = self.come.recv()
                self.found[answered] = answer
        return self.found.pop(place, None)


def _look(things: Sequence[T], look: Callable[[T], Found], say: Connection) -> None:
    for place, thing in enumerate(things):
        found = None
        with contextlib.suppress(Exception):  # whoever asks meets it again, and says so
            found = look(thing)
        say.send((place, found))
