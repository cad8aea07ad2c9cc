"""What all fuzzing has in common: how many inputs, and what none of them may do whatever it holds.

With ``ATTNBENCH_FUZZ=N`` each test takes N inputs, of another seed each time, instead of a few of the same.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import HealthCheck, Verbosity, settings
from hypothesis import strategies as st

from attnbench import inert
from attnbench.errors import AttnbenchError
from attnbench.record import Cell, Record, Status

INPUTS = int(os.environ.get("ATTNBENCH_FUZZ", "0"))
MOST_CPU_S = 20.0
"""Of one input's reading, in seconds of this process; the slowest take a tenth of one."""
MOST_SAID = 20_000
"""Characters of a message: the command line shows it."""
LONG = pytest.mark.timeout(6 * 3600 if INPUTS else 300)
count: Counter[str] = Counter()
"""Inputs so far, by the kind of what reads them."""
RECORD = json.loads(Record(cell=Cell(mechanism="qna", height=64, width=64), status=Status.OK).to_json())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "9" * 40]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(list(RECORD)), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Whatever a file of JSON may hold, names of a record's among it."""
_NEVER = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "subprocess.Popen",
          "shutil.rmtree", "socket.connect", "ctypes.dlopen"}  # fmt: skip
"""Events of the interpreter that no reading of a file gives rise to."""


class HarmError(BaseException):
    """Reading has done what it must not; not an Exception, so that no reader takes it for its own."""


def fuzzed(inputs: int = 100, *, weight: int = 1) -> settings:
    """Return hypothesis's settings: so many inputs, the same each time, or as many as were asked for by a weight."""
    return settings(
        max_examples=INPUTS // weight or inputs,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=not INPUTS,
        verbosity=Verbosity.normal,
        print_blob=True,
    )


@contextmanager
def bounded(kind: str) -> Iterator[None]:
    """Count an input, and hold what reads it to its time."""
    count[kind] += 1
    before = signal.signal(signal.SIGVTALRM, _late)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_CPU_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def read_or_refused(kind: str) -> Iterator[None]:
    """Let pass an error of attnbench's own, if it can be shown in a line or a few; nothing may be run meanwhile."""
    with bounded(kind), _watched():
        try:
            yield
            said = ""
        except AttnbenchError as error:
            said = str(error)
    assert len(said) < MOST_SAID
    inert.shown(said).encode()


_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in _NEVER:
        raise HarmError(f"{event}{arguments!r:.200}")


sys.addaudithook(_watch)


@contextmanager
def _watched() -> Iterator[None]:
    global _watching  # noqa: PLW0603 - a hook cannot be taken off again
    _watching = True
    try:
        yield
    finally:
        _watching = False


def _late(_: int, __: FrameType | None) -> None:
    raise HarmError(f"took more than {MOST_CPU_S:g} s")
