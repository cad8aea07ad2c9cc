"""What a cell needs of memory: estimated before it is run, so that it is refused in time, and measured in calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from attnbench import devices, runtimes
from attnbench.devices import casting, machine
from attnbench.models import calls, subject
from attnbench.probes import kernels, memory, memory_estimate, outside
from attnbench.record import Cell, Mode, Status, Value
from attnbench.runs.job import Settings
from attnbench.worker.ahead import Foreseen
from attnbench.worker.ready import Learn, Metrics, Unmeasurable
from attnbench.worker.surroundings import World

_LEAST_FREE_BYTES = 2**30
_SMALL_BYTES = 2**30 / 10
"""What is told in MiB."""


def measure_memory(
    asked: subject.Subject,
    model: nn.Module,
    x: Tensor,
    *,
    forward: calls.Forward | None = None,
    world: World | None = None,
) -> Metrics:
    """Return the peak of memory of one call, what a forward pass saves for the backward one, and how it attends.

    Args:
        asked: the cell's subject.
        model: holds the parameters.
        x: the input.
        forward: what the model was compiled to; None for the model itself.
        world: what its calls are to find changed.
    """
    cell, started, world = asked.cell, time.perf_counter(), world or World()
    forward, renew = forward or model, calls.renewal(model, x, cell)  # what answers from memory takes none
    call, run = (
        world.around(calls.call(cell, forward, x, forget=calls.forget(model, x))),
        world.around(casting.around(forward, cell)),
    )
    renew()
    peak = memory.peak(call, device=cell.device, forget=renew)
    renew()
    found: Metrics = {"memory_peak_bytes": peak.peak_bytes, "memory_reserved_bytes": peak.reserved_bytes}
    found["memory_counted"] = peak.counted
    with kernels.attention_kernels() as ran:
        if cell.mode is Mode.TRAIN:
            saved = memory.saved_for_backward(lambda: run(x), exclude=[x, *model.parameters(), *model.buffers()])
            found["memory_saved_bytes"] = saved // asked.layers
        else:
            call()
    return found | {"sdpa_kernels": _listed(ran), "running_s": time.perf_counter() - started}


def memory_outside(
    cell: Cell, model: nn.Module, x: Tensor, *, forward: calls.Forward, peak_bytes: Value, world: World
) -> Metrics:
    """Return what a call takes past torch's allocator, where that is more than usual.

    Args:
        cell: whose call it is.
        model: holds the parameters.
        x: the input.
        forward: the model, or what it was compiled to.
        peak_bytes: the peak of torch's allocator in a call; None where it is not known.
        world: what the cell's plugin has set up for its own calls.
    """
    started = time.perf_counter()
    if not isinstance(peak_bytes, int) or not devices.of(cell.device).in_main_memory:
        return {}
    renew = calls.renewal(model, x, cell)
    call = calls.call(cell, forward, x, forget=calls.forget(model, x))
    renew()
    with world.worn():
        found = outside.outside(call, forget=renew, peak_bytes=peak_bytes, by_line=not cell.compiled)
    return {"memory_outside_bytes": found or None, "running_s": time.perf_counter() - started}


def refuse_what_will_not_fit(
    asked: subject.Subject, settings: Settings, learn: Learn, held_bytes: int, ahead: Foreseen | None = None
) -> int:
    """Return the bytes of a cell's parameters, 0 if nothing can be estimated.

    Args:
        asked: the cell's subject.
        settings: the limit that was given, if any.
        learn: called with what was estimated.
        held_bytes: what the cells prepared before hold in memory.
        ahead: what was estimated already; None where it is to be done here.

    Raises:
        Unmeasurable: it would need more than is free or allowed.
    """
    cell = asked.cell
    try:
        with casting.entered(cell):
            estimated = (
                ahead.estimate if ahead else memory_estimate.estimate(asked.on_meta, mode=cell.mode, device=cell.device)
            )
    except memory_estimate.NoEstimateError:
        estimated = None
    if estimated is None:
        return 0  # it may fit: only running it tells
    needed = estimated.total_bytes
    learn("estimating memory", {"memory_estimate_bytes": estimated.peak_bytes})
    limit, free = settings.memory_limit_bytes, devices.of(cell.device).free_bytes()
    if limit is not None and held_bytes + needed > limit:
        beside = f", and the cells beside it hold {_size(held_bytes)}" if held_bytes else ""
        reason = f"would need {_size(needed)}{beside}; --memory-limit is {_size(limit)}; not started"
        raise Unmeasurable(Status.OUT_OF_MEMORY, reason, own=needed > limit)
    if limit is None and free is not None and needed > free:  # what is held is no longer free
        reason = f"would need {_size(needed)}; {cell.device} has {_size(free)} free; not started"
        in_vain = devices.of(cell.device).in_main_memory and needed > machine.memory_bytes()
        raise Unmeasurable(Status.OUT_OF_MEMORY, reason, own=in_vain)
    return estimated.parameters_bytes


@dataclass(slots=True, kw_only=True)
class Headroom:
    """Main memory for exporting a cell and for its runtime, of which nothing can be estimated.

    What the greediest cell of another runtime took before it is what the next is expected to take.
    """

    taken_bytes: int = 0

    def require(self, cell: Cell) -> None:
        """Look whether there is twice as much as the greediest took, and a GiB: less makes the machine crawl.

        Raises:
            Unmeasurable: there is not.
        """
        free = _free_main_memory()
        if cell.runtime == runtimes.TORCH or not self.taken_bytes or free is None:
            return
        if free < max(_LEAST_FREE_BYTES, 2 * self.taken_bytes):
            reason = (
                f"{_size(free)} of main memory are free, and another cell took {_size(self.taken_bytes)}; not started"
            )
            raise Unmeasurable(Status.OUT_OF_MEMORY, reason)

    @contextmanager
    def noted(self, cell: Cell) -> Iterator[None]:
        """Note what is taken within for a cell of another runtime."""
        before = _free_main_memory()
        yield
        after = _free_main_memory()
        if cell.runtime != runtimes.TORCH and before is not None and after is not None:
            self.taken_bytes = max(self.taken_bytes, before - after)


def _free_main_memory() -> int | None:
    return devices.of("cpu").free_bytes()


def _listed(names: set[str]) -> str | None:
    return ", ".join(sorted(names)) or None


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= _SMALL_BYTES else f"{size_bytes / 2**20:.1f} MiB"
