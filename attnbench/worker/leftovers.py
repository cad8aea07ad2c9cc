"""What a plugin leaves in a process that nobody can take away again: descriptors, threads, processes, busy cores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import listdir, readlink
from time import perf_counter, sleep

from attnbench.wording import number_of
from attnbench.worker.aspects import listed

_DESCRIPTORS = 64
"""So many more than before are a library's: device files, shared memory, caches."""
_THREADS = 16
"""So many more than before may be a library's pool, which sleeps when there is nothing to do."""
_WINDOW_S = 0.03
_PATIENCE_S = 1.0
"""Pools of threads spin for a while when their work is done, compilers finish what they have begun."""
_BUSY_CORES = 0.1
_TICK_S = 0.01
"""Unit of /proc/PID/stat on every system of today."""
_OF_TORCH = ("torch/_inductor/compile_worker", "multiprocessing.resource_tracker")
"""Processes of torch's compiler, which wait for work."""


def _descriptors() -> dict[str, str]:
    found = {}
    for number in _names("/proc/self/fd"):
        try:
            found[number] = readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 - ten thousand times where so many are open
        except OSError:  # that of the folder itself is closed by now
            continue
    return found


def _processes() -> frozenset[str]:
    numbers = {each for task in _names("/proc/self/task") for each in _text(f"/proc/self/task/{task}/children").split()}
    return frozenset(each for each in numbers if not _is_torchs(each))


def _is_torchs(number: str) -> bool:
    """Return whether a process belongs to torch's compiler, or has ended and waits to be asked how."""
    command = _text(f"/proc/{number}/cmdline")
    return not command or any(each in command for each in _OF_TORCH)


def _cpu_s(folder: str) -> float:
    fields = _text(f"{folder}/stat").rpartition(")")[2].split()
    if folder.startswith("/proc/self/"):
        spent = _text(f"{folder}/schedstat").split()
        if spent:
            return int(spent[0]) / 1e9
    return (int(fields[11]) + int(fields[12])) * _TICK_S if len(fields) > 12 else 0.0


def _names(folder: str) -> list[str]:
    try:
        return listdir(folder)  # noqa: PTH208 - names alone
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123 - a thousand times where a thousand threads are left
            return file.read()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a process has when this is made; nothing of what the system does not tell."""

    descriptors: Mapping[str, str] = field(default_factory=_descriptors)
    tasks: frozenset[str] = field(default_factory=lambda: frozenset(_names("/proc/self/task")))
    threads: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))
    processes: frozenset[str] = field(default_factory=_processes)

    def harmful(self) -> list[str]:
        """Return what is there by now that others would suffer from, in words."""
        now = Leftovers()
        found = []
        if not now.descriptors:
            return ["leaves so many files open that no other can be opened"]
        closed = [number for number, file in self.descriptors.items() if now.descriptors.get(number) != file]
        if closed:
            found.append(f"closes descriptors: {listed(closed)}")
        opened = len(now.descriptors.keys() - self.descriptors.keys())
        if opened > _DESCRIPTORS:
            found.append(f"leaves {opened:,} files open")
        started = len(now.threads - self.threads)
        if started > _THREADS:
            found.append(f"leaves {started:,} threads running")
        processes = len(now.processes - self.processes)
        if processes:
            found.append(f"leaves {number_of(processes, 'process', 'processes')} running")
        return found

    def busy_cores(self) -> float:
        """Return how many cores what was started since keeps busy while nothing is called, 0 where that is little.

        Takes no time where nothing was started. What is busy has a second to come to rest.
        """
        started = perf_counter()
        while True:
            before, at = self.spent_s(), perf_counter()
            if not before:
                return 0.0
            sleep(_WINDOW_S)
            cores = _between(before, self.spent_s()) / (perf_counter() - at)
            if cores < _BUSY_CORES:
                return 0.0
            if perf_counter() - started > _PATIENCE_S:
                return cores

    def spent_s(self) -> dict[str, float]:
        """Return the seconds on a core of all threads and processes that were started since."""
        tasks = {f"/proc/self/task/{each}" for each in _names("/proc/self/task") if each not in self.tasks}
        processes = {f"/proc/{each}" for each in _processes() - self.processes}
        return {each: _cpu_s(each) for each in tasks | processes}


def _between(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    return sum(now - before[name] for name, now in after.items() if name in before)


class OthersTurns:
    """How busy what plugins have started is while cells of nobody else's are called.

    A thread that rests in its layer's own turns and where nothing is called is seen by nothing else.

    Args:
        spent_s: returns the seconds on a core of each thread and process that plugins have started.
        clock: seconds.
    """

    def __init__(self, spent_s: Callable[[], Mapping[str, float]], clock: Callable[[], float] = perf_counter) -> None:
        self._spent_s = spent_s
        self._clock = clock
        self._begun: tuple[Mapping[str, float], float] | None = None
        self._busy_s = self._took_s = 0.0

    def begin(self) -> None:
        """Note that a turn begins that is no plugin's."""
        self._begun = self._spent_s(), self._clock()

    def end(self) -> None:
        """Note that it has ended."""
        if self._begun:
            before, at = self._begun
            self._busy_s += _between(before, self._spent_s())
            self._took_s += self._clock() - at
        self._begun = None

    @property
    def busy_cores(self) -> float:
        """How many cores were kept busy in all of these turns, 0 where that is little."""
        cores = self._busy_s / self._took_s if self._took_s else 0.0
        return cores if cores >= _BUSY_CORES else 0.0
