"""Children that are forked from a process that has torch and timm loaded, which takes milliseconds instead of seconds.

A server is started for the first child and kept for those that follow in the same environment; see
``attnbench.child.server``.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from attnbench.child.spawned import THREADS, environment_for

START_UP_S = 300.0
"""How long a server may take to load torch."""
_FAREWELL_S = 5.0
_ONE_THREAD = dict.fromkeys((*THREADS, "OPENBLAS_NUM_THREADS"), "1")
"""Numpy's BLAS would start its threads as it is loaded. Children set for themselves how many they have."""
_OF_A_CHILD = frozenset({*_ONE_THREAD, "PYTEST_CURRENT_TEST"})
"""Variables that may change from one child to the next."""
_INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOCK: Final = threading.RLock()
_SERVERS: Final[dict[_Surroundings, _Server]] = {}


class NoForkError(Exception):
    """No child can be forked; the message says why."""


class _EndedError(NoForkError):
    """The process to fork from is of no more use."""


class Forked:
    """A child that is forked from a server, under a guardian that is as well."""

    def __init__(self, module: str, *arguments: str, descriptors: Mapping[str, int], threads: int) -> None:
        """Have guardian and child forked; the arguments are those of ``Spawned``.

        Raises:
            NoForkError: there is no server, or no fork of it would be sound.
        """
        message = {
            "module": module,
            "arguments": arguments,
            "environment": environment_for(threads),
            "folder": str(Path.cwd()),
            "parent": os.getpid(),
        }
        self._server, self._number = _fork(message, [descriptors[name] for name in ("log", "events", "control")])

    def kill(self) -> None:
        """End the guardian by force, and the child with it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._number, signal.SIGKILL)

    def bury(self) -> None:
        """Take leave of a guardian that has told the end or was killed."""
        self._server.children.discard(self._number)


def start_server() -> None:
    """Start what children are forked from, where they can be, so that it loads meanwhile."""
    if sys.platform == "linux":
        with _LOCK:
            _server()


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a server has from its start on, and its children with it."""

    parent: int
    variables: frozenset[tuple[str, str]]
    cores: frozenset[int]


class _Server:
    """A process that forks children, seen by its parent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.children = set[int]()
        self.serves = False
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(START_UP_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "attnbench.child.server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=dict(environment),
            )

    def fork(self, message: Mapping[str, object], descriptors: list[int]) -> int:
        """Have a child forked and return its number.

        Raises:
            NoForkError: a fork would not be sound.
            _EndedError: it has ended, or does not answer.
        """
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
            answer = json.loads(self._socket.recv(4096))
        except TimeoutError:
            raise _EndedError(f"the process to fork from does not answer within {START_UP_S:g} s") from None
        except (OSError, ValueError):
            raise _EndedError(f"the process to fork from has ended{self._last_words()}") from None
        self.serves = True
        if "error" in answer:
            raise NoForkError(answer["error"])
        number: int = answer["number"]
        self.children.add(number)
        return number

    def _last_words(self) -> str:
        self._process.kill()  # it may live on, if it was the message that was too long
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f" ({said})" if said else ""

    def close(self) -> None:
        """End it and its children."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(
                _FAREWELL_S if self.serves else 0
            )  # while it loads it does not see the end of the socket
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def _fork(message: Mapping[str, object], descriptors: list[int]) -> tuple[_Server, int]:
    with _LOCK:
        surroundings, server = _server()
        has_served = server.serves
        try:
            return server, server.fork(message, descriptors)
        except BaseException as error:
            if type(error) is NoForkError:
                raise
            # An answer may still come, which would be taken for that to another message.
            del _SERVERS[surroundings]
            server.close()
            if has_served and isinstance(error, _EndedError):  # it had nothing to do for long, or was killed
                return _fork(message, descriptors)
            raise


def _server() -> tuple[_Surroundings, _Server]:
    """Return the server of these surroundings, started if there is none; others that have no child are ended."""
    variables = frozenset((name, value) for name, value in os.environ.items() if name not in _OF_A_CHILD)
    here = _Surroundings(os.getpid(), variables, frozenset(os.sched_getaffinity(0)))
    for each, server in list(_SERVERS.items()):
        if not server.children and each != here:
            del _SERVERS[each]
            if each.parent == here.parent:
                server.close()
    if here not in _SERVERS:
        _SERVERS[here] = _Server(os.environ | _ONE_THREAD)
    return here, _SERVERS[here]


@atexit.register
def _close() -> None:
    own = [server for surroundings, server in _SERVERS.items() if surroundings.parent == os.getpid()]
    with _uninterrupted() if own else contextlib.nullcontext():
        for server in own:
            server.close()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore what would end this process, which is ending: somebody who interrupts once more is told nothing by it."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in _INTERRUPTING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
