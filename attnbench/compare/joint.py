"""The child that times two revisions of one cell against each other, in one process and in the same rounds.

Run as ``python -m attnbench.compare.joint JOB REPOSITORY TREE EVENT_FD``: the job has base's cell and head's, TREE is
the checkout of base. What cannot share a process is said to be so, and ends it: it is for ``lockstep`` then.

Between blocks of rounds both are built anew, in random order and beside memory of random size, since where parameters
lie shifts a latency and stays as it is. What is compiled is built once: a process is a block then.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from attnbench import devices
from attnbench.child import voice
from attnbench.compare.lockstep import as_known_here
from attnbench.compare.revision import Operators, Revision
from attnbench.devices import environment
from attnbench.devices.clock import Call
from attnbench.devices.device import Device
from attnbench.models import calls, subject
from attnbench.probes import interference, latency
from attnbench.runs.job import Event, Job
from attnbench.worker import events, torch_state
from attnbench.worker.calls import TimedCalls
from attnbench.worker.phases import prepare
from attnbench.worker.ready import Ready
from attnbench.worker.surroundings import Surroundings, Turns
from attnbench.worker.witness import Witness

Say = Callable[[Event], None]

BASE, HEAD = "base", "head"
"""The two cells of a job, in this order."""
_BLOCK_S = 0.25
"""Time for the rounds of a block, where it suffices for the fewest."""
_FEWEST_ROUNDS, _FEWEST_OF_SLOW = 15, 3
"""Rounds of a block. With fifteen calls of each, a quarter is not interrupted though half of them are."""
_SLOW_S = 0.1
"""A call that takes longer is interrupted in any case, and costs much."""
_COMPILED_BLOCK_S = 3.0
"""The same of a compiled cell, which has one block a process."""
_WARMUP_S, _LONGEST_WARMUP_S = 0.02, 0.15
"""Of a block that is not the first; the process is warm by then, the memory is not."""
_CHANCE = random.SystemRandom()
"""What a build seeds is not drawn from."""
_PADDING = 2**18
"""Most elements of what is allocated before a build, so that what is built comes to lie elsewhere."""


class IncompatibleError(Exception):
    """The two revisions cannot share a process; the message says why."""


def serve(job: Job, revisions: Sequence[Revision], say: Say) -> None:
    """Prepare both cells of a job and time them against each other until nobody listens any more."""
    cell = job.assignments[-1].cell
    device = devices.of(cell.device)
    device.set_up(threads=cell.threads)
    say({"event": "environment", "environment": environment.take(threads=cell.threads, device=cell.device).to_dict()})
    try:
        pair = _prepared(job, revisions, say, device)
        say({"event": "ready", "layers": pair.sides[0].ready.layers})
        for block in pair.blocks():
            say(block)
    except Exception as error:  # a plugin may raise anything
        _, reason = events.outcome(error)
        say({"event": "incompatible", "reason": reason})


@dataclass(slots=True, kw_only=True, eq=False)
class _Side:
    """One revision's cell, built anew whenever it is asked to be."""

    revision: Revision
    ready: Ready
    seed: int
    odd: list[str] = field(default_factory=list)
    """Names that a build has let stand for something else than the first did."""
    _padding: Tensor | None = None

    def put_on(self) -> list[str]:
        """Let the process be what its calls are to find; as of a ``World``."""
        self.revision.enter()
        return self.ready.world.put_on()

    def take_off(self) -> list[str]:
        """Let the process be as it was before."""
        others = self.ready.world.take_off()
        self.revision.leave()
        return others

    def forget(self) -> None:
        """Let go of what is built."""
        self._padding = None
        self.ready = replace(self.ready, model=nn.Module(), x=torch.empty(0), call=lambda: None)

    def build(self) -> None:
        """Build it anew, somewhere else in memory."""
        cell = self.ready.cell
        self.odd += self.put_on()
        try:
            with torch_state.restored(seed_included=False):
                asked = subject.of(cell)
                padding = _CHANCE.randrange(1, _PADDING)
                self._padding = torch.empty(padding, device=devices.of(cell.device).where)
                model, x = calls.place(asked, seed=self.seed)
        finally:
            self.odd += self.take_off()
        call = calls.call(cell, model, x, forget=calls.forget(model, x))
        self.ready = replace(self.ready, model=model, x=x, call=call)


@dataclass(slots=True, kw_only=True, eq=False)
class _Pair:
    """Base and head, ready to be timed."""

    sides: tuple[_Side, ...]
    device: Device
    house: Surroundings | None
    seed: int

    def blocks(self) -> Iterator[Event]:
        """Yield block after block without end; of compiled cells one."""
        watch = interference.Watch(pace=self.device.pace)
        flush = self.device.flusher()
        compiled = self.sides[0].ready.cell.compiled
        gc.collect()
        gc.freeze()  # what is there by now stays, and need not be looked through before every block
        rounds = _FEWEST_ROUNDS if self._call_s() < _SLOW_S else _FEWEST_OF_SLOW
        number = 0
        while number == 0 or not compiled:
            if number:
                self._build()
            timed = self._time(_settings(number, rounds, compiled=compiled), flush, watch, number)
            self._require_nothing_changed()
            yield {"event": "block", **timed, "disturbed": "; ".join(watch.report().disturbances)}
            number += 1

    def _call_s(self) -> float:
        """Return about how long a call takes."""
        side, timer = self.sides[0], self.device.timer()
        side.put_on()
        try:
            timer.sample(side.ready.call, 1)
            return timer.sample(side.ready.call, 1).ns / 1e9
        finally:
            side.take_off()

    def _build(self) -> None:
        for side in self.sides:
            side.forget()
        gc.collect()
        self.device.release()
        for side in _CHANCE.sample(self.sides, len(self.sides)):
            side.build()

    def _time(
        self,
        settings: latency.TimingSettings,
        flush: Call,
        watch: interference.Watch,
        number: int,
    ) -> dict[str, list[int]]:
        witnesses = [Witness(side.ready) for side in self.sides]
        turns = Turns(self.sides)
        calls = TimedCalls(witnesses, turns, device=self.device, flush=flush)

        def after_round() -> None:
            turns.to(None)
            watch.mark()

        try:
            timings = latency.time_interleaved(
                dict(zip((BASE, HEAD), (witness.call for witness in witnesses), strict=True)),
                baseline=BASE,
                settings=settings,
                timer=self.device.timer(),
                seed=self.seed + number,
                on_call=calls.before,
                on_sample=lambda _: turns.to(None),
                on_round=after_round,
            )
        finally:
            calls.end()
        if turns.rebound:
            raise IncompatibleError(f"its calls rebind {', '.join(dict.fromkeys(turns.rebound))}")
        return {f"{name}_ns": timing.elapsed_ns.tolist() for name, timing in timings.items()}

    def _require_nothing_changed(self) -> None:
        odd = [name for side in self.sides for name in side.odd]
        found = self.house.settle().said if self.house else ""
        if odd or found:
            raise IncompatibleError(f"the process is not as it was: {'; '.join(filter(None, [*odd, found]))}")


def _settings(number: int, rounds: int, *, compiled: bool) -> latency.TimingSettings:
    """Return how the rounds of a block are timed: as many as there is time for, whatever they show."""
    each_s = (_COMPILED_BLOCK_S if compiled else _BLOCK_S) / 2
    first = latency.TimingSettings(precision=0.0, max_time_s=each_s, min_rounds=rounds, grouped=False)
    return replace(first, warmup_s=_WARMUP_S, warmup_max_s=_LONGEST_WARMUP_S) if number else first


def _prepared(job: Job, revisions: Sequence[Revision], say: Say, device: Device) -> _Pair:
    """Take both cells through every phase before the timing.

    Raises:
        IncompatibleError: what one revision sets up for everybody, the other does as well.
        Exception: whatever ends a cell, a stranger's code included.
    """
    house = None
    if any(each.foreign for each in job.assignments):
        torch.ones(2**20).sum()  # torch's threads are nobody's leftovers
        house = Surroundings()
    operators, sides = Operators(), list[_Side]()
    for index, (assignment, revision) in enumerate(zip(job.assignments, revisions, strict=True)):
        with torch_state.restored(seed_included=False), revision.entered():
            cell = as_known_here(assignment.cell)
            say({"event": "options", "cell": index, "options": dict(cell.options)})
            ready = prepare(
                index,
                replace(assignment, cell=cell),
                job.settings,
                events.enter(say, index),
                events.learn(say, index),
                held_bytes=sum(side.ready.parameters_bytes for side in sides),
                house=house if assignment.foreign else None,
            )
        if redefined := operators.redefined():
            raise IncompatibleError(f"both define {', '.join(redefined)}, and torch has one operator of a name")
        operators.note()
        sides.append(_Side(revision=revision, ready=ready, seed=job.settings.seed))
        if house and assignment.cell.compiled:
            house.renew()  # a compiler sets up much in a process
    return _Pair(sides=tuple(sides), device=device, house=house, seed=job.settings.seed)


def main(job: Path, repository: Path, tree: Path, channel: int) -> None:
    """Do a job, saying what happens on the channel to the parent."""
    asked, say = Job.read(job), voice.opened(channel)
    serve(asked, [Revision(repository, tree), Revision(repository, repository)], say)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    sys.stdout.flush()
    os._exit(0)  # all is said; a thread that a plugin left behind would keep the parent waiting
