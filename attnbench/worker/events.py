"""What the worker says to the runner while it measures, and what an error says of a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from attnbench import devices, inert, raised
from attnbench.errors import PluginError
from attnbench.probes import memory
from attnbench.record import Status
from attnbench.runs.job import Assignment, Event
from attnbench.worker.objection import Objection, verdict
from attnbench.worker.ready import Metrics, ProcessChangedError, Unmeasurable

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


def ended(index: int, found: tuple[Status, str, Metrics]) -> Event:
    """Return the event of a cell that is judged by what was found of itself."""
    status, reason, metrics = found
    return {"event": "done", "cell": index, "status": status, "reason": reason, "metrics": metrics, "own": True}


def apart(index: int, reason: str) -> Event:
    """Return the event of a cell that is to be measured in a process without the others."""
    return {"event": "apart", "cell": index, "reason": reason}


def timed(index: int, metrics: Metrics, objections: Sequence[Objection]) -> Event:
    """Return the event of a cell whose calls were timed, and are still to be verified."""
    said = [asdict(objection) for objection in objections]
    return {"event": "timed", "cell": index, "metrics": metrics, "objections": said}


def judged(index: int, assignment: Assignment, objections: Sequence[Objection], metrics: Metrics) -> Event:
    """Return the event of a cell whose calls were timed and verified.

    Args:
        index: place of the cell in its job.
        assignment: the cell and what was found of it.
        objections: all that speaks against its figures.
        metrics: what verifying them found.
    """
    return ended(index, verdict(objections, metrics, timed=assignment.timed))


def failed(index: int, error: Exception, *, changes: str = "") -> Event:
    """Return the event of a cell that an error ended.

    Args:
        index: place of the cell in its job.
        error: what ended it.
        changes: what it changed for everyone in its process.
    """
    status, reason = outcome(error)
    own = error.own if isinstance(error, Unmeasurable) else isinstance(error, ProcessChangedError)
    if changes and not own:
        reason, own = f"{reason}; it changes the process for everyone: {changes}", True
    return {"event": "done", "cell": index, "status": status, "reason": reason, "metrics": {}, "own": own}


def warning(text: str) -> Event:
    """Return the event of what went wrong and costs no cell anything."""
    return {"event": "warning", "text": text}


def outcome(error: Exception) -> tuple[Status, str]:
    """Return how a cell ends by an error, and the reason."""
    if isinstance(error, Unmeasurable):
        return error.status, error.reason
    said = inert.brief(error)
    if memory.ran_out(error):
        return Status.OUT_OF_MEMORY, said or type(error).__name__
    if isinstance(error, PluginError):
        return Status.FAILED, said
    if devices.lacking(error):
        return Status.UNSUPPORTED, said
    return Status.FAILED, raised.in_words(error)
