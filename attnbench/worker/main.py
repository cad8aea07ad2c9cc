"""The child that measures: a job in, events out. The one place where cells, modules and probes meet.

Run as ``python -m attnbench.worker.main JOB EVENT_FD``. What goes wrong with a cell is said as the cell's outcome; what
ends the process is the runner's to tell.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from attnbench import devices, runtimes
from attnbench.child import voice
from attnbench.devices import environment
from attnbench.devices.device import Device
from attnbench.record import Task
from attnbench.runs.job import Assignment, Job, Running
from attnbench.worker import events, judge, torch_state
from attnbench.worker.ahead import Ask, Foreseen, foreseen
from attnbench.worker.memory import Headroom
from attnbench.worker.objection import verdict
from attnbench.worker.phases import count_only, prepare
from attnbench.worker.ready import Metrics, Ready, Unbearable
from attnbench.worker.surroundings import Settled, Surroundings
from attnbench.worker.timing import time_in_turn


def work(job: Job, say: events.Say, running: Running) -> None:
    """Measure the cells of a job, each by itself first and then all of them in turn."""
    first = job.assignments[0].cell
    device = devices.of(first.device)
    device.set_up(threads=first.threads)
    taken = environment.take(threads=first.threads, device=first.device)
    say({"event": "environment", "environment": taken.to_dict()})
    job = replace(job, assignments=tuple(each.within(taken.environment_id) for each in job.assignments))
    house = _taken_down(job)
    # Torch's own first: a thread that another runtime starts meanwhile would be memory that a layer takes.
    order = dict(sorted(enumerate(job.assignments), key=lambda each: each[1].cell.runtime != runtimes.TORCH))
    limits = job.limits.get(taken.environment_id)
    with foreseen(order) as ask:
        ready = _prepared(order, job, say, ask, device=device, house=house, limits=limits)
    if ready is not None:
        time_in_turn(ready, job, say, running, taken.environment_id, device=device, house=house)


def _prepared(
    order: Mapping[int, Assignment],
    job: Job,
    say: events.Say,
    ask: Ask,
    *,
    device: Device,
    house: Surroundings | None,
    limits: Mapping[str, Any] | None,
) -> list[Ready] | None:
    """Return the cells that can be timed, None where the process is of no more use; the others' outcomes are said."""
    ready: list[Ready] = []
    headroom = Headroom()
    for index, assignment in order.items():
        try:
            headroom.require(assignment.cell)
            with torch_state.restored(seed_included=False) as changes, headroom.noted(assignment.cell):
                held, ahead = sum(one.parameters_bytes for one in ready), ask(index)
                outcome = _by_itself(
                    index, assignment, job, say, held_bytes=held, house=house, limits=limits, ahead=ahead
                )
            if changes:
                events.learn(say, index)("setting torch back", {"torch_flags_restored": "; ".join(changes)})
            if isinstance(outcome, Ready):
                ready.append(outcome)
                if house and (assignment.cell.compiled or assignment.cell.runtime != runtimes.TORCH):
                    house.renew()  # a compiler sets up much in a process, as do exporter and runtime
            else:
                found = house.settle().said if house and assignment.foreign else ""
                say(events.done(index, outcome | ({"process_changes": found} if found else {})))
        except Unbearable as error:
            say(events.apart(index, str(error)))
            return None
        except Exception as error:  # a plugin may raise anything; it costs the others nothing
            settled = house.settle() if house and assignment.foreign else Settled()
            say(events.failed(index, error, changes=settled.said))
            if device.lost() or settled.left or (house and house.busy_cores()):
                return None
    return ready


def _taken_down(job: Job) -> Surroundings | None:
    """Return the process as no plugin has seen it yet, None where none is to be loaded."""
    if not any(each.foreign for each in job.assignments):
        return None
    torch.ones(2**20).sum()  # torch's threads are nobody's leftovers
    return Surroundings()


def _by_itself(
    index: int,
    assignment: Assignment,
    job: Job,
    say: events.Say,
    *,
    held_bytes: int,
    house: Surroundings | None,
    limits: Mapping[str, Any] | None,
    ahead: Foreseen | None,
) -> Ready | Metrics:
    """Return a cell that is to be timed, or what else is to be said of one that is not."""
    enter = events.enter(say, index)
    if assignment.cell.task is Task.ACCURACY:
        from attnbench.worker.scoring import measure_accuracy  # noqa: PLC0415 - scipy.stats: a second, for these cells only

        return measure_accuracy(
            assignment,
            job.settings,
            enter,
            events.learn(say, index),
            events.progress(say),
            checkpoints=Path(job.checkpoints),
        )
    learn = events.learn(say, index)
    if assignment.cell.task is Task.COUNTS:
        count_only(assignment, enter, learn)
        return {}
    compared = house if assignment.foreign else None
    ready = prepare(
        index,
        assignment,
        job.settings,
        enter,
        learn,
        held_bytes=held_bytes,
        house=compared,
        limits=limits,
        ahead=ahead,
        exports=Path(job.evidence) / "exports" if job.evidence else None,
    )
    if assignment.cell.task is Task.COST:
        return ready
    *_, metrics = verdict(judge.of_figures(ready.found), {}, timed={})
    return metrics


def main(job: Path, channel: int) -> None:
    """Do a job, saying what happens on the channel to the parent."""
    work(Job.read(job), voice.opened(channel), Running(job.with_suffix(".running")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # all is said; a thread that a plugin left behind would keep the runner waiting
