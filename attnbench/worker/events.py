"""What the worker says to the runner while it measures, and what an error says of a cell."""

from __future__ import annotations

from collections.abc import Callable

from attnbench import inert
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
    status, reason = outcome(error)
    return {"event": "done", "cell": index, "status": status, "reason": reason, "metrics": {}}


def warning(text: str) -> Event:
    """Return the event of what went wrong and costs no cell anything."""
    return {"event": "warning", "text": text}


def outcome(error: Exception) -> tuple[Status, str]:
    """Return how a cell ends by an error, and the reason."""
    if isinstance(error, Unmeasurable):
        return error.status, error.reason
    said, kind = inert.brief(error), type(error).__name__
    if memory.ran_out(error):
        return Status.OUT_OF_MEMORY, said or kind
    if isinstance(error, PluginError):
        return Status.FAILED, said
    return Status.FAILED, f"{kind}: {said}"
