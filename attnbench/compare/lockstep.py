"""The child that times one cell of one revision, a sample whenever it is told to; ``starts`` beside it is its parent.

Run as ``python -m attnbench.compare.lockstep JOB CORE EVENT_FD``; CORE is where it stays. Beside the job lie
``packages``, a folder whose packages are loaded before any others of their names, and ``turns``, a FIFO: each line is
the number of calls of a sample.
Between its turns the child sleeps. It ends when the FIFO is closed.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import attnbench
from attnbench import devices
from attnbench.axes import COLD
from attnbench.child import voice
from attnbench.compare.side import ANY
from attnbench.devices import attention, environment
from attnbench.devices.clock import Call, Timer
from attnbench.errors import PluginError
from attnbench.mechanism import option_defaults
from attnbench.plugins.options import as_before, parameters
from attnbench.plugins.registry import Plugin, discover
from attnbench.plugins.source import BUILT_IN, package_of
from attnbench.record import Cell
from attnbench.runs.job import Event, Job
from attnbench.worker.events import outcome
from attnbench.worker.phases import prepare
from attnbench.worker.ready import Metrics, Ready
from attnbench.worker.witness import Witness

Say = Callable[[Event], None]


def serve(job: Job, turns: Iterable[str], say: Say, *, packages: Path) -> None:
    """Prepare the cell of a job and time it once for every turn. What goes wrong is said as the cell's outcome."""
    assignment = job.assignments[0]
    cell = assignment.cell
    device = devices.of(cell.device)
    device.set_up(threads=cell.threads)
    say({"event": "environment", "environment": environment.take(threads=cell.threads, device=cell.device).to_dict()})
    try:
        plugin = discover().find(cell.mechanism)
        if package_of(plugin.module) == BUILT_IN:  # before anything asks for what the mechanism takes
            attnbench.__path__.insert(0, str(packages))
        _check_origin(plugin, packages)
        cell = as_known_here(cell)
        say({"event": "options", "options": dict(cell.options)})
        ready = prepare(0, replace(assignment, cell=cell), job.settings, _enter(say), _learn(say), held_bytes=0)
        timer, flush = device.timer(), device.flusher()
        gc.collect()
        device.release()  # the counterpart has to fit beside it
        say({"event": "ready", "layers": ready.layers, "shortest_ns": 0})  # each call is prepared by itself
        _take_turns(ready, timer, flush, turns, say)
    except Exception as error:  # a plugin may raise anything
        status, reason = outcome(error)
        say({"event": "done", "status": status, "reason": reason})


def _take_turns(ready: Ready, timer: Timer, flush: Call, turns: Iterable[str], say: Say) -> None:
    gc.disable()
    attention.Kernels().allow(ready.cell.sdpa)
    witness = Witness(ready)
    for turn in turns:
        witness.prepare()
        witness.call()  # not timed: the other process had the caches, and its threads may still be spinning
        witness.prepare()
        if ready.cell.cache == COLD:
            flush()
        elapsed = timer.sample(witness.call, int(turn))
        say({"event": "sample", "ns": elapsed.ns, "host_ns": elapsed.host_ns})


def as_known_here(cell: Cell) -> Cell:
    """Return the cell with the options that this revision of its mechanism has: values asked for, defaults otherwise.

    Raises:
        PluginError: the mechanism does not load.
    """
    mechanism = discover().find(cell.mechanism).load()
    takes = parameters(mechanism)
    asked = {name: value for name, value in cell.options.items() if name in takes}
    return replace(cell, options=as_before(mechanism, option_defaults(mechanism) | asked))


def _check_origin(plugin: Plugin, packages: Path) -> None:
    """See that it is this revision that was loaded: an installation's own import hook may come before ``sys.path``."""
    if plugin.local:
        return
    top = importlib.import_module(package_of(plugin.module))
    if top.__file__ is None or not Path(top.__file__).is_relative_to(packages):
        raise PluginError(f"{top.__name__} was loaded from {top.__file__} rather than from {packages}")


def _enter(say: Say) -> Callable[[str], None]:
    return lambda phase: say({"event": "phase", "phase": phase})


def _learn(say: Say) -> Callable[[str, Metrics], None]:
    return lambda phase, metrics: say({"event": "metrics", "phase": phase, "metrics": metrics})


def _main(path: Path, core: str, channel: int) -> None:
    say = voice.opened(channel)
    if core != ANY and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    packages = path.with_name("packages")
    sys.path.insert(0, str(packages))
    with path.with_name("turns").open() as turns:
        serve(Job.read(path), turns, say, packages=packages)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
