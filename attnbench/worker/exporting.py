"""A cell's module taken over by the runtime that is to run it: exported, loaded, and held against torch."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn

from attnbench import runtimes
from attnbench.models import calls
from attnbench.probes import agreement
from attnbench.record import Cell, Status
from attnbench.runtimes.runtime import CannotRunError
from attnbench.worker.ready import Learn, Unmeasurable
from attnbench.worker.surroundings import World

PHASE = "exporting"
_COMPARED = 3
"""Inputs for which its answers are held against torch's."""


def exported(cell: Cell, model: nn.Module, x: Tensor, learn: Learn, world: World) -> calls.Forward:
    """Return what a runtime has made of a module, and say how far its answers are from torch's.

    Raises:
        Unmeasurable: it cannot be exported or run.
    """
    runtime, started = runtimes.of(cell.runtime), time.perf_counter()
    with world.worn():
        try:
            prepared = runtime().prepare(model, x, cell=cell)
        except CannotRunError as reason:
            raise Unmeasurable(Status.UNSUPPORTED, str(reason)) from None
        export_s = time.perf_counter() - started
        error = _error(cell, model, prepared.forward, x)
    said = {"runtime_version": runtime.version(), "export": prepared.export or None}
    learn(PHASE, {**said, "export_s": export_s, "runtime_remark": prepared.remark or None})
    if not math.isfinite(error):
        what = f"{runtime.name} returned outputs of another shape than torch, or what is no number"
        raise Unmeasurable(Status.FAILED, what)
    learn(PHASE, {"runtime_error": error})
    return prepared.forward


@torch.inference_mode()
def _error(cell: Cell, model: nn.Module, forward: calls.Forward, x: Tensor) -> float:
    """Return the largest difference from what the module gives, relative to the largest value of that output."""
    filled, found = calls.values(cell, x), []
    for number in range(_COMPARED):
        filled.fill(number)
        right, other = (_named(run(x)) for run in (model, forward))
        found.append(agreement.worst(agreement.errors(other, right))[1])
    return max(found)


def _named(returned: Tensor) -> dict[str, Tensor]:
    return {f"output {index}": each for index, each in enumerate(calls.outputs_of(returned))}
