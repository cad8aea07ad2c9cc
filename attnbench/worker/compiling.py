"""A cell's module compiled by torch, and what came of it."""

from __future__ import annotations

from torch import Tensor, nn

from attnbench import devices
from attnbench.models import calls
from attnbench.probes import compilation
from attnbench.record import Cell, Status
from attnbench.worker.ready import Learn, Unmeasurable
from attnbench.worker.surroundings import World


def compiled(cell: Cell, model: nn.Module, x: Tensor, learn: Learn, world: World) -> calls.Forward:
    """Return what a module was compiled to, and say how long that took and in how many graphs.

    Raises:
        Unmeasurable: nothing of it was compiled.
    """
    forward = compilation.isolated(model)
    call = world.around(calls.call(cell, forward, x, forget=calls.forget(model, x)))
    found = compilation.warm(call, synchronize=devices.of(cell.device).synchronize)
    learn(
        "compiling",
        {
            "compile_s": found.compile_s,
            "recompilations": found.recompilations,
            "graphs": found.graphs,
            "graph_breaks": found.breaks,
            "graph_breaks_at": found.breaks_at or None,
        },
    )
    if found.why_not:
        raise Unmeasurable(Status.UNSUPPORTED, found.why_not)
    return forward
