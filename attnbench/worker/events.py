"""What the worker says to the runner while it measures, and what an error says of a cell."""

from __future__ import annotations

from collections.abc import Callable

from attnbench.errors import PluginError
from attnbench.probes import memory
from attnbench.record import Status
from attnbench.runs.job import Event
from attnbench.worker.phases import Metrics, Unmeasurable

Say = Callable[[Event], None]


def enter(say: Say, index: int) -> Callable[[str], None]:
    """Return what is called with the name of a phase before a cell enters it."""
    return lambda phase: say({"event": "phase", "cell": index, "phase": phase})


def learn(say: Say, index: int) -> Callable[[str, Metrics], None]:
    """Return what is called with what a phase found of a cell."""
    return lambda phase, metrics: say({"event": "metrics", "cell": index, "phase": phase, "metrics": metrics})


def progress(say: Say) -> Callable[[float], None]:
    """Return what is called with the part of the phase that is done."""
    return lambda fraction: say({"event": "progress", "fraction": fraction})


def done(index: int, metrics: Metrics) -> Event:
    """Return the event of a cell that ended well."""
    return {"event": "done", "cell": index, "status": Status.OK, "reason": "", "metrics": metrics}


def failed(index: int, error: Exception) -> Event:
    """Return the event of a cell that an error ended."""
    status, reason = _verdict(error)
    return {"event": "done", "cell": index, "status": status, "reason": reason, "metrics": {}}


def _verdict(error: Exception) -> tuple[Status, str]:
    said = " ".join(str(error).split())[:500]
    if isinstance(error, Unmeasurable):
        return error.status, error.reason
    if memory.ran_out(error):
        return Status.OUT_OF_MEMORY, said
    if isinstance(error, PluginError):
        return Status.FAILED, said
    return Status.FAILED, f"{type(error).__name__}: {said}"
