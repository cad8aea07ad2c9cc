"""What is done to one cell before it is timed with the others: load, count, estimate, build, measure memory, compile.

Each phase is entered by name before it starts, so that its death or delay can be told, and what it found is handed
on at once, so that nothing is lost if a later phase brings the process down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from attnbench import devices, runtimes
from attnbench.devices import attention, casting
from attnbench.models import calls, subject
from attnbench.probes import warned
from attnbench.record import Cell, Status, Task
from attnbench.runs.job import Assignment, Settings
from attnbench.worker import exporting, judge, torch_state
from attnbench.worker.ahead import Foreseen
from attnbench.worker.compiling import compiled
from attnbench.worker.counts import count
from attnbench.worker.memory import measure_memory, memory_outside, refuse_what_will_not_fit
from attnbench.worker.ready import Enter, Learn, Metrics, ProcessChangedError, Ready, Unbearable, Unmeasurable
from attnbench.worker.surroundings import Surroundings, World
from attnbench.worker.validation import validate


def prepare(
    index: int,
    assignment: Assignment,
    settings: Settings,
    enter: Enter,
    learn: Learn,
    *,
    held_bytes: int,
    house: Surroundings | None = None,
    limits: Mapping[str, Any] | None = None,
    ahead: Foreseen | None = None,
    exports: Path | None = None,
) -> Ready:
    """Take a cell through every phase before the timing.

    Args:
        index: place of the cell in its job.
        assignment: the cell, and the phases that an earlier worker finished.
        settings: limits and seed.
        enter: called with the name of a phase before it starts.
        learn: called with what a phase found.
        held_bytes: what the cells prepared before hold in memory.
        house: the process as it was before any plugin was loaded; None where none is, and nothing is compared.
        limits: the machine's, as they were measured before the run; None where they are not known.
        ahead: what a copy of the process has counted and estimated; None where that is to be done here.
        exports: where exported modules are kept for the group's other cells and processes; None for nowhere.

    Raises:
        Unmeasurable: the cell's mechanism does not support it, it cannot be as fast as is asked, it would not fit into
            memory, or what it has started keeps the processor busy.
        Unbearable: loading or building it has changed the process for good.
        PluginError: its forward pass breaks the contract, or changes the process for everyone.
    """
    with _kernel_of(assignment.cell):
        return _prepare(
            index,
            assignment,
            settings,
            enter,
            learn,
            held_bytes=held_bytes,
            house=house,
            limits=limits,
            ahead=ahead,
            exports=exports,
        )


def _prepare(
    index: int,
    assignment: Assignment,
    settings: Settings,
    enter: Enter,
    learn: Learn,
    *,
    held_bytes: int,
    house: Surroundings | None,
    limits: Mapping[str, Any] | None,
    ahead: Foreseen | None,
    exports: Path | None,
) -> Ready:
    cell, course = assignment.cell, _Course(assignment=assignment, enter=enter, learn=learn)
    # What a forward pass sets must not be set already when it is looked at: it would seem to set nothing.
    with torch_state.restored(seed_included=False) as changes:
        asked = course.counted(ahead)
        _require_budget(assignment, course.found, settings, enter, limits)
        enter("estimating memory")
        parameters_bytes = refuse_what_will_not_fit(asked, settings, learn, held_bytes, ahead)
        enter("building")
        model, x = calls.place(asked, seed=settings.seed)
    if changes:
        learn("setting torch back", {"torch_flags_restored": "; ".join(changes)})
    world = _settled(assignment, house, learn)
    looked_at = partial(validated, model, x, world=world)
    # Of a compiled cell, what the module as it was written warns of is not what is timed.
    course.phase("validating", looked_at if cell.compiled else partial(_noting_warnings, looked_at))
    _require_nothing_changed(house)
    with world.worn():
        course.phase("looking at its calls", lambda: _seen_in_calls(asked, model, course.found))
    _require_nothing_changed(house)
    forward: calls.Forward = model
    if exporting.needed(cell):
        enter(exporting.PHASE)
        forward = exporting.exported(cell, model, x, learn, world, exports=exports)
        if house:
            house.renew()  # what an exporter and a runtime set up in a process is not the plugin's doing
    if cell.compiled:
        enter("compiling")
        assert isinstance(forward, nn.Module), "torch's own"
        forward = compiled(cell, forward, x, learn, world)
        if house:
            house.renew()  # nor is what a compiler does
    if cell.runtime == runtimes.TORCH:  # what others take for a call only they know
        _measure_memory(course, asked, model, x, forward=forward, world=world, plugin=house is not None)
    _require_nothing_changed(house)
    _require_rest(assignment, house)
    call = calls.call(cell, forward, x, forget=calls.forget(model, x))
    return Ready(
        index=index,
        cell=cell,
        model=model,
        x=x,
        call=call,
        layers=asked.layers,
        parameters_bytes=parameters_bytes,
        found=course.found,
        world=world,
    )


def _measure_memory(
    course: _Course,
    asked: subject.Subject,
    model: nn.Module,
    x: Tensor,
    *,
    forward: calls.Forward,
    world: World,
    plugin: bool,
) -> None:
    cell = asked.cell
    measured = partial(measure_memory, asked, model, x, forward=forward, world=world)
    course.phase("measuring memory", partial(_noting_warnings, measured) if cell.compiled else measured)
    if not plugin:  # of built-ins the tests show that they take nothing elsewhere
        return
    beside = partial(memory_outside, cell, model, x, forward=forward, world=world)
    course.phase("measuring memory outside", lambda: beside(peak_bytes=course.found.get("memory_peak_bytes")))


def _seen_in_calls(asked: subject.Subject, model: nn.Module, found: Metrics) -> Metrics:
    """Return what was assumed of a layer with what its calls have shown first: a note may be cut where it is long.

    Raises:
        Unmeasurable: they show that it is no layer of maps.
    """
    wrong, seen = asked.seen_in_calls(model)
    if wrong:
        raise Unmeasurable(Status.UNSUPPORTED, wrong)
    return {"adaptation": "; ".join(filter(None, (seen, str(found.get("adaptation") or "")))) or None}


def _settled(assignment: Assignment, house: Surroundings | None, learn: Learn) -> World:
    """Undo what loading and building a plugin have changed for everyone, and return what its own calls are to find."""
    if house is None:
        return World()
    settled = house.settle()
    if settled.left and not assignment.apart:
        raise Unbearable(settled.said)
    if settled.said:
        learn("setting the process back", {"process_changes": settled.said})
    if settled.left:
        house.renew()
    return settled.world


def _require_budget(
    assignment: Assignment, found: Metrics, settings: Settings, enter: Enter, limits: Mapping[str, Any] | None
) -> None:
    """Raise if a cell cannot be as fast as is asked; not of one that others are compared with, and is timed anyway."""
    cell = assignment.cell
    if settings.max_latency_s is None or cell.task is not Task.COST or assignment.companion:
        return
    enter("comparing with the budget")
    again = judge.measured_again(cell, devices.of(cell.device))
    said = judge.beyond_budget(cell, found, limits, again, most_s=settings.max_latency_s)
    if said:
        raise Unmeasurable(Status.OVER_BUDGET, said)


def _require_nothing_changed(house: Surroundings | None) -> None:
    said = house.settle().said if house else ""
    if said:
        raise ProcessChangedError(f"its forward pass changes the process for everyone: {said}; leave that to others")


def _require_rest(assignment: Assignment, house: Surroundings | None) -> None:
    """Raise if cores are busy while nothing is called; which of several plugins does it, one by itself tells."""
    if house is None:
        return
    cores = house.busy_cores()
    if cores and not assignment.apart:
        raise Unbearable(f"{cores:.1f} cores were busy while nothing was called")
    if cores:
        said = f"what it has started keeps {cores:.1f} cores busy while nothing is called, in others' turns too"
        raise Unmeasurable(Status.REJECTED, said)
    house.admit()


def _why_not_run(cell: Cell) -> str:
    """Return why a cell's runtime or its device cannot do what it asks for; counting asks neither for anything."""
    if cell.task is Task.COUNTS:
        return ""
    return runtimes.of(cell.runtime).why_unsupported(cell) or casting.why_not(cell)


@contextmanager
def _kernel_of(cell: Cell) -> Iterator[None]:
    """Let torch's fused attention use the kernel that a cell asks for; one that cannot run there is no fault."""
    try:
        with attention.allowed(cell.sdpa):
            yield
    except attention.NoKernelError as error:
        raise Unmeasurable(Status.UNSUPPORTED, str(error)) from None


def count_only(assignment: Assignment, enter: Enter, learn: Learn) -> None:
    """Take a cell through the phases in which nothing is run but a layer of somebody else's on a map of a few tokens.

    Raises:
        Unmeasurable: the cell's mechanism does not support it, or is no layer of maps.
    """
    course = _Course(assignment=assignment, enter=enter, learn=learn)
    asked = course.counted()
    enter("looking at its calls")
    wrong = asked.seen_in_small()
    if wrong:
        raise Unmeasurable(Status.UNSUPPORTED, wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """A cell on its way through the phases, those left out that an earlier worker finished."""

    assignment: Assignment
    enter: Enter
    learn: Learn
    found: Metrics = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", dict(self.assignment.known))

    def counted(self, ahead: Foreseen | None = None) -> subject.Subject:
        """Load what the cell names and count it, where that has not been done ahead."""
        self.enter("loading")
        cell = self.assignment.cell
        asked = subject.of(cell)
        reason = _why_not_run(cell) or asked.why_unsupported()
        if reason:
            raise Unmeasurable(Status.UNSUPPORTED, reason)
        self.phase("counting", lambda: ahead.counts if ahead else count(asked))
        return asked

    def phase(self, name: str, work: Callable[[], Metrics]) -> None:
        if name in self.assignment.phases_done:
            return
        self.enter(name)
        metrics = work()
        if "running_s" in metrics:
            metrics["running_s"] = _seconds(self.found) + _seconds(metrics)
        self.found.update(metrics)
        self.learn(name, metrics)


def _noting_warnings(work: Callable[[], Metrics]) -> Metrics:
    """Return what a phase found, and what its calls warned of."""
    with warned.warned() as texts:
        found = work()
    return found | {"call_warnings": warned.said(texts)}


def validated(model: nn.Module, x: Tensor, *, world: World) -> Metrics:
    """Return how long two calls took in which every mechanism kept the contract.

    Raises:
        PluginError: one did not.
    """
    started = time.perf_counter()
    validate(model, x, world=world)
    return {"running_s": time.perf_counter() - started}


def _seconds(found: Metrics) -> float:
    return float(found.get("running_s") or 0)
