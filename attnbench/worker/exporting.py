"""A cell's module taken over by the runtime that is to run it: exported or quantised, and held against torch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from attnbench import runtimes
from attnbench.axes import INT8
from attnbench.models import calls
from attnbench.probes import agreement
from attnbench.record import Cell, Scope, Status
from attnbench.runtimes.runtime import CannotRunError, Prepared
from attnbench.worker.ready import Learn, Metrics, Unmeasurable
from attnbench.worker.surroundings import World

PHASE = "exporting"
_COMPARED = 3
"""Inputs for which its answers are held against torch's."""
_SAMPLES = range(1000, 1016)
"""Numbers of the inputs from which ranges are taken: none of those that answers are compared for."""


def needed(cell: Cell) -> bool:
    """Return whether something other than the module itself is called."""
    return cell.runtime != runtimes.TORCH or cell.dtype == INT8


def taken_over(
    cell: Cell, model: nn.Module, x: Tensor, *, watched: bool = False, exports: Path | None = None
) -> Prepared:
    """Return what a cell's runtime makes of a module: the same each time for the same weights.

    Args:
        cell: what is asked.
        model: the module.
        x: its input.
        watched: whether it is to tell what its calls spend their time on.
        exports: where to keep what is exported, and to look for it; None where it is to be exported now.

    Raises:
        CannotRunError: it cannot be exported, quantised or run.
    """
    runtime = runtimes.of(cell.runtime)()
    runtime.watches, runtime.exports = watched, exports
    if cell.dtype != INT8:
        return runtime.prepare(model, x, cell=cell)
    filled, samples = calls.values(cell, x), []
    for number in _SAMPLES:
        filled.fill(number)
        samples.append(x.detach().clone())
    return runtime.quantize(model, x, cell=cell, samples=samples)


def exported(
    cell: Cell, model: nn.Module, x: Tensor, learn: Learn, world: World, *, exports: Path | None
) -> calls.Forward:
    """Return what a runtime has made of a module, and say how far its answers are from torch's.

    Raises:
        Unmeasurable: it cannot be exported or run.
    """
    runtime, started = runtimes.of(cell.runtime), time.perf_counter()
    with world.worn():
        try:
            prepared = taken_over(cell, model, x, exports=exports)
        except CannotRunError as reason:
            raise Unmeasurable(Status.UNSUPPORTED, str(reason)) from None
        export_s = time.perf_counter() - started + prepared.spared_s
        apart = _apart(cell, model, prepared.forward, x)
    said = {"runtime_version": runtime.version(cell.dtype), "export": prepared.export or None}
    learn(PHASE, {**said, "export_s": export_s, "runtime_remark": prepared.remark or None})
    if not math.isfinite(apart.error):
        what = f"{runtime.name} returned outputs of another shape than torch, or what is no number"
        raise Unmeasurable(Status.FAILED, what)
    learn(PHASE, apart.metrics(quantized=cell.dtype == INT8))
    return prepared.forward


@dataclass(slots=True, kw_only=True)
class _Apart:
    """How far answers are from those of the module in torch, over some inputs."""

    error: float = 0.0
    """The largest difference, relative to the largest value of that output."""
    noise: float = 0.0
    signal: float = 0.0
    """Sums of squares of the differences, and of what they are differences of."""

    def metrics(self, *, quantized: bool) -> Metrics:
        found: Metrics = {"runtime_error": self.error}
        if quantized and self.noise and self.signal:
            found["int8_snr_db"] = 10 * math.log10(self.signal / self.noise)
        return found


@torch.inference_mode()
def _apart(cell: Cell, model: nn.Module, forward: calls.Forward, x: Tensor) -> _Apart:
    filled, found = calls.values(cell, x), _Apart()
    for number in range(_COMPARED):
        filled.fill(number)
        right, other = (_named(run(x)) for run in (model, forward))
        found.error = max(found.error, agreement.worst(agreement.errors(other, right))[1])
        if not math.isfinite(found.error):
            return found
        for name, tensor in right.items():
            found.noise += float((other[name].double() - tensor.double()).square().sum())
            # A stack of layers adds to its input, which is no answer of its own and would drown the noise.
            own = tensor - x if cell.scope is Scope.LAYER and tensor.shape == x.shape else tensor
            found.signal += float(own.double().square().sum())
    return found


def _named(returned: Tensor) -> dict[str, Tensor]:
    return {f"output {index}": each for index, each in enumerate(calls.outputs_of(returned))}
