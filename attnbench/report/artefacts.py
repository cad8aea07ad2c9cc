"""Files of a report, each made by itself: what one of them cannot do costs no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

from attnbench import files, inert

Apart: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Of a file's name, the context in which it is made."""


def together(_: str) -> AbstractContextManager[None]:
    """Make a file so that what goes wrong with it is raised."""
    return nullcontext()


class Artefacts:
    """Which files could not be made.

    Example:
        >>> made = Artefacts()
        >>> with made.apart("plots/macs.png"):
        ...     raise TypeError("no float")
        >>> made.failures
        ['plots/macs.png was not written: TypeError: no float']
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        """A line for each file that could not be made."""

    @contextmanager
    def apart(self, name: str) -> Iterator[None]:
        """Make a file whose failure, of whatever kind, is said and costs no other."""
        try:
            yield
        except OSError as error:
            self.failures.append(f"{name} was not written: {files.reason_of(error)}")
        except Exception as error:
            self.failures.append(f"{name} was not written: {type(error).__name__}: {inert.brief(error)}")
