"""The child that times one cell of one revision, a sample whenever it is told to; ``rerun`` beside it is its parent.

Run as ``python -m attnbench.compare.lockstep JOB EVENT_FD``. Beside the job lie ``packages``, a folder whose packages
are loaded before any others of their names, and ``turns``, a FIFO: each line is the number of calls of a sample.
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

from attnbench import devices
from attnbench.axes import COLD
from attnbench.child import voice
from attnbench.devices import attention, environment
from attnbench.devices.clock import Call, Timer
from attnbench.errors import PluginError
from attnbench.mechanism import option_defaults
from attnbench.plugins.registry import Plugin, discover
from attnbench.record import Cell
from attnbench.runs.job import Event, Job
from attnbench.worker.events import outcome
from attnbench.worker.phases import Metrics, Ready, prepare
from attnbench.worker.witness import Witness

Say = Callable[[Event], None]


def serve(job: Job, turns: Iterable[str], say: Say, *, packages: Path) -> None:
    """Prepare the cell of a job and time it once for every turn. What goes wrong is said as the cell's outcome."""
    assignment = job.assignments[0]
    cell = assignment.cell
    device = devices.of(cell.device)
    device.set_up(threads=cell.threads)
    say({"event": "environment", "environment": environment.take(threads=cell.threads, device=cell.device).to_dict()})
    _stay_on_one_core(cell.threads)
    try:
        cell = _as_known_here(cell, packages)
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


def _stay_on_one_core(threads: int) -> None:
    """Keep a process of one thread on the highest core that it may use, where its counterpart is as well.

    Left to the scheduler, the two settle on different cores beside different neighbours: ratios of unchanged code then
    scattered by 3 % (standard deviation of six starts, on a machine with other work), and by 1 % on one core.
    """
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _as_known_here(cell: Cell, packages: Path) -> Cell:
    """Return the cell with the options that this revision of its mechanism has: values asked for, defaults otherwise.

    Raises:
        PluginError: the mechanism does not load, or not from the folder it should.
    """
    plugin = discover().find(cell.mechanism)
    mechanism = plugin.load()
    _check_origin(plugin, packages)
    return replace(
        cell,
        options=option_defaults(mechanism)
        | {name: value for name, value in cell.options.items() if name in option_defaults(mechanism)},
    )


def _check_origin(plugin: Plugin, packages: Path) -> None:
    """See that it is this revision that was loaded: an installation's own import hook may come before ``sys.path``."""
    if plugin.local:
        return
    top = importlib.import_module(plugin.module.partition(".")[0])
    if top.__file__ is None or not Path(top.__file__).is_relative_to(packages):
        raise PluginError(f"{top.__name__} was loaded from {top.__file__} rather than from {packages}")


def _enter(say: Say) -> Callable[[str], None]:
    return lambda phase: say({"event": "phase", "phase": phase})


def _learn(say: Say) -> Callable[[str, Metrics], None]:
    return lambda phase, metrics: say({"event": "metrics", "phase": phase, "metrics": metrics})


def _main(path: Path, channel: int) -> None:
    say = voice.opened(channel)
    packages = path.with_name("packages")
    sys.path.insert(0, str(packages))
    with path.with_name("turns").open() as turns:
        serve(Job.read(path), turns, say, packages=packages)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
