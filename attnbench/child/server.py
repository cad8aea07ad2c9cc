"""The process that children are forked from: it has loaded what they would load first, and nothing else.

The first child of a run looks at plugins, for which torch is enough; the rest is loaded while it looks.

Run as ``python -m attnbench.child.server CONTROL_FD``, the descriptor of a socket. A message on it is what a child
is to run; with it come the descriptors of its log, of its events, and of its guardian's socket. The guardian is forked,
and forks the child. The answer is the guardian's number, or why there is none. The server ends when its socket is
closed.

A fork copies the calling thread only, and a device that has been touched is of no use to the copy. So nothing is
computed here, no pool of threads is started, no device is asked for, and no plugin is imported.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import stat
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from attnbench.child import guardian

_LOOKS = "attnbench.worker.preflight"
_TO_LOOK = ("torch", _LOOKS)
_TO_MEASURE = ("torch._dynamo", "timm", *(f"attnbench.worker.{name}" for name in ("main", "limits", "referee")))
IDLE_S = 120.0
"""A server that has no child for so long ends; the next child finds another."""
_MEMORY = 1
"""Major number of /dev/null, /dev/urandom and their like."""


class _NoForkError(Exception):
    """Nothing can be forked; the message says why."""


@dataclass(slots=True)
class Server:
    """Forks a guardian, and by it a child, for every message."""

    control: socket.socket
    idle_s: float = IDLE_S
    guardians: set[int] = field(default_factory=set)
    """The numbers of those that run, of a child each."""

    def serve(self) -> Callable[[], None] | None:
        """Serve until nobody asks any more and return None; in a child that was forked, return what it is to do."""
        waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        heard: list[socket.socket | int] = [self.control, waking]
        try:
            while True:
                ready, _, _ = select.select(heard, [], [], None if self.guardians else self.idle_s)
                if not ready:
                    return None
                if waking in ready:
                    os.read(waking, 4096)
                    self._bury()
                if self.control in ready:
                    message, descriptors, *_ = socket.recv_fds(self.control, 2**20, 3)
                    if not message:
                        return None
                    task = self._answer(json.loads(message), descriptors)
                    if task is not None:
                        return task
                    load(_TO_MEASURE)
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(waking)
            os.close(woken)

    def _answer(self, message: Mapping[str, Any], descriptors: list[int]) -> Callable[[], None] | None:
        if message["module"] != _LOOKS:
            load(_TO_MEASURE)
        try:
            number = self._fork()
        except _NoForkError as error:
            self.control.send(json.dumps({"error": str(error)}).encode())
        else:
            if number == 0:
                self.control.close()
                return lambda: _become(message, *descriptors)
            self.guardians.add(number)
            self.control.send(json.dumps({"number": number}).encode())
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def _fork(self) -> int:
        why_not = _why_no_fork()
        if why_not:
            raise _NoForkError(why_not)
        try:
            return os.fork()
        except OSError as error:
            raise _NoForkError(error.strerror) from None

    def _bury(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (number := os.waitpid(-1, os.WNOHANG)[0]) > 0:
                self.guardians.discard(number)
        guardian.end_by_force(guardian.descendants(but=self.guardians))  # of a guardian that was killed


def load(names: Sequence[str]) -> None:
    """Load what children need, and put it where their garbage collectors do not look."""
    if sys.modules.keys() >= set(names):
        return
    gc.disable()  # a sixth of the time goes into looking for garbage, and little is found
    for name in names:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


def _why_no_fork() -> str:
    """Return why a fork of this process would not be sound, empty if it is."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        return f"what it has loaded has started {threads - 1} threads"
    opened = ", ".join(_devices_open())
    return f"what it has loaded has opened {opened}" if opened else ""


def _devices_open() -> list[str]:
    """Return the device files that this process holds open, as a driver does that has been started."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of the folder itself is closed by now
            info = link.stat()
            harmless = os.major(info.st_rdev) == _MEMORY or os.isatty(int(link.name))
            if stat.S_ISCHR(info.st_mode) and not harmless:
                found.append(str(link.readlink()))
    return found


def _become(message: Mapping[str, Any], log: int, events: int, control: int) -> None:
    """Go on as the guardian, and in its child as what a process with an interpreter of its own would be."""
    guardian.watch(control=control, log=log, events=events, parent=message["parent"])
    os.environ.clear()
    os.environ.update(message["environment"])
    os.chdir(message["folder"])
    _like_a_fresh_process()
    sys.argv[1:] = [*message["arguments"], str(events)]
    sys.modules.pop(message["module"], None)  # so that it runs as __main__, as it does elsewhere
    runpy.run_module(message["module"], run_name="__main__", alter_sys=True)


def _like_a_fresh_process() -> None:
    """Let libraries take what they take from the system and the environment when they are loaded."""
    import numpy as np  # noqa: PLC0415 - loaded by now, by the server, whose parent has seen to its threads
    import threadpoolctl  # noqa: PLC0415
    import torch  # noqa: PLC0415

    importlib.invalidate_caches()
    np.random.seed()
    torch.default_generator.seed()
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads, user_api="openmp")
    threadpoolctl.threadpool_limits(int(os.environ.get("OPENBLAS_NUM_THREADS") or threads), user_api="blas")


def _end_as_python_does(task: Callable[[], None]) -> NoReturn:
    """Do a task and end the process as the interpreter would, but for taking apart what has been loaded: a second."""
    status = 0
    try:
        task()
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
        if isinstance(leave.code, str):
            sys.stderr.write(f"{leave.code}\n")
    except BaseException:
        status = 1
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 0xFF)


def main(control: int) -> None:
    """Serve, and go on as the child in a child."""
    guardian.adopt_orphans()
    load(_TO_LOOK)
    server = Server(socket.socket(fileno=control))
    task = server.serve()
    if task is not None:
        _end_as_python_does(task)


if __name__ == "__main__":
    main(int(sys.argv[1]))
