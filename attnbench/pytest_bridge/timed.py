"""A benchmark's timed calls, held to what ``attnbench run`` holds them to: new values each, answers that are verified.

The timing is pytest-benchmark's own, in the process of the tests; what the calls returned is judged in another one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from attnbench import devices
from attnbench.child import ENDED, Child, late
from attnbench.child.scratch import scratch
from attnbench.devices import names
from attnbench.devices.clock import Call
from attnbench.devices.device import Device
from attnbench.record import Status, Value
from attnbench.runs.group import REFEREE
from attnbench.runs.heard import WORKER, CellEnded
from attnbench.runs.job import FORK, Assignment, Job, Settings
from attnbench.worker import blame, judge
from attnbench.worker.calls import TimedCalls
from attnbench.worker.objection import Objection, unverified
from attnbench.worker.ready import Ready
from attnbench.worker.surroundings import Surroundings, Turns
from attnbench.worker.witness import Witness

_WARM_CALLS, _WARM_S = 3, 0.3
_LOG = "referee.log"

Judged = tuple[Status, str, dict[str, Value]]
"""Status, reason and metrics."""


class Benchmark(Protocol):
    """pytest-benchmark's fixture, as far as it is used."""

    extra_info: dict[str, Any]

    def pedantic(self, target: Call, *, setup: Call, rounds: int) -> object:
        """Time a function, a call a round, what is done before it left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many rounds a benchmark takes, as pytest-benchmark was asked."""

    min_rounds: int = 5
    max_time_s: float = 1.0
    """For the rounds, what is done before and after each call included."""

    def rounds(self, each_s: float) -> int:
        """Return how many there are time for."""
        return max(self.min_rounds, math.ceil(self.max_time_s / each_s))


def time_and_judge(benchmark: Benchmark, one: Ready, *, bounds: Bounds, house: Surroundings | None) -> Judged:
    """Time the calls of a cell, and return what its figures are worth.

    Args:
        benchmark: what times.
        one: the cell, built.
        bounds: how many rounds.
        house: the process as it was before the mechanism was loaded; None where that is nobody's but ours.
    """
    device = devices.of(one.cell.device)
    witness, turns = Witness(one), Turns([one.world])
    calls = TimedCalls([witness], turns, device=device, flush=device.flusher())
    call = _finished(witness.call, device)
    made = 0

    def before_call() -> None:
        nonlocal made
        if made:  # pytest-benchmark has no place for this after a call before its version 5.2
            calls.after(0)
        made += 1
        calls.before(0)

    started = time.monotonic()
    try:
        rounds = bounds.rounds(_warm_s(calls, call, bounds))
        benchmark.pedantic(call, setup=before_call, rounds=rounds)
        calls.after(0)
    finally:
        calls.end()
    running_s = time.monotonic() - started
    changed = blame.changes(house, turns) if house else ""
    objections = [*witness.objections, *judge.of_figures(one.found)]
    if changed:
        objections.append(Objection(said=f"its {blame.SAID}: {changed}", sure=True))
    return _judged(witness, objections, running_s=running_s)


def _finished(call: Call, device: Device) -> Call:
    """Return a call that returns when its device has finished."""
    if device.kind == names.HOST:
        return call

    def synchronized() -> object:
        y = call()
        device.synchronize()
        return y

    return synchronized


def _warm_s(calls: TimedCalls, call: Call, bounds: Bounds, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Call until the layer is warm, and return the time of a round."""
    started, made = clock(), 0
    while made < _WARM_CALLS or clock() - started < min(_WARM_S, bounds.max_time_s):
        calls.before(0)
        call()
        made += 1
    return (clock() - started) / made


def _judged(witness: Witness, objections: list[Objection], *, running_s: float) -> Judged:
    """Have another process compare what was returned with what an untouched copy gives."""
    with scratch() as folder:
        witness.write(folder / witness.cell.key)
        timed = Assignment(cell=witness.cell, timed={"running_s": running_s}, objections=tuple(objections))
        settings = Settings()
        path = folder / "job.json"
        Job(
            assignments=(timed,), baseline="", settings=settings, samples=str(folder), evidence=str(folder)
        ).write(path)  # fmt: skip
        threads = torch.get_num_threads()
        with Child(REFEREE, str(path), events=WORKER, log=folder / _LOG, threads=threads, isolation=FORK) as referee:
            found = _heard(referee, settings.timeout_s)
    if isinstance(found, CellEnded):
        return found.status, found.reason, dict(found.metrics)
    return unverified(objections, found, timed={})


def _heard(referee: Child, timeout_s: float) -> CellEnded | str:
    """Return the verdict, or why there is none."""
    while True:
        event = referee.next_event(timeout_s=timeout_s)
        if event is None:
            return late("verifying", timeout_s)
        if event is ENDED:
            return referee.death("verifying").reason
        if isinstance(event, CellEnded):
            return event
