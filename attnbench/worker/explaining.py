"""The child that profiles one cell of a run: built as the worker builds it, warmed up, called a few times.

Run as ``python -m attnbench.worker.explaining FOLDER KEY EVENT_FD``. Without the descriptor it calls the cell's module
in a range named ``attnbench`` with nobody to tell, which is what a profiler of somebody else's is put around.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

from torch import Tensor, nn
from torch.autograd.profiler import emit_nvtx, record_function

from attnbench import devices, raised, runtimes, store
from attnbench.child import voice
from attnbench.devices import attention, environment
from attnbench.errors import StoreError
from attnbench.explain.profiles import CallProfile
from attnbench.mechanism import Mechanism
from attnbench.models import calls, subject
from attnbench.probes import operators
from attnbench.record import Cell, Mode
from attnbench.runtimes.runtime import CannotRunError
from attnbench.worker import exporting
from attnbench.worker.compiling import compiled
from attnbench.worker.surroundings import World

_SEED = 0
_WARM_UP = 3


def explain(cell: Cell, say: voice.Say) -> None:
    """Profile a cell and say what was found."""

    def enter(phase: str) -> None:
        say({"event": "phase", "name": phase})

    device = devices.of(cell.device)
    enter("setting up its device")
    device.set_up(threads=cell.threads)
    taken = environment.take(threads=cell.threads, device=cell.device)
    with _built(cell, enter) as (model, x, call):
        enter("profiling")
        if cell.runtime != runtimes.TORCH:
            found = _told(cell, model, x, call)
            say({"event": "profiled", "profile": asdict(found), "environment_id": taken.environment_id})
            return
        layers = [each for each in model.modules() if isinstance(each, Mechanism)]
        told_apart = cell.mode is Mode.INFER and not cell.compiled and not exporting.needed(cell)
        with operators.marked(layers) if told_apart else nullcontext():
            found = operators.measure(
                call,
                renew=calls.renewal(model, x, cell),
                timer=device.timer(),
                synchronize=device.synchronize,
                warm_up=_WARM_UP,
                accelerator="" if device.in_main_memory else device.where.type,
            )
    say({"event": "profiled", "profile": asdict(found), "environment_id": taken.environment_id})


def _told(cell: Cell, model: nn.Module, x: Tensor, call: calls.Call) -> CallProfile:
    """Return what a runtime says of calls of the same module, taken over once more to be watched.

    Raises:
        CannotRunError: it says nothing.
    """
    spent = exporting.taken_over(cell, model, x, watched=True).spent
    if spent is None:
        raise CannotRunError(f"{cell.runtime} does not tell what its calls spend their time on")
    timer = devices.of(cell.device).timer()
    renew = calls.renewal(model, x, cell)
    return operators.told(call, partial(spent, x), renew=renew, timer=timer, warm_up=_WARM_UP)


def call_in_a_range(cell: Cell) -> None:
    """Call a cell's module once in a range named ``attnbench``, warmed up."""
    device = devices.of(cell.device)
    device.set_up(threads=cell.threads)
    with _built(cell, lambda _: None) as (_, _, call):
        for _ in range(_WARM_UP):
            call()
        device.synchronize()
        with emit_nvtx(), record_function("attnbench"):  # type: ignore[no-untyped-call]
            call()
            device.synchronize()


@contextmanager
def _built(cell: Cell, enter: Callable[[str], None]) -> Iterator[tuple[nn.Module, Tensor, calls.Call]]:
    with attention.allowed(cell.sdpa):
        enter("loading")
        asked = subject.of(cell)
        enter("building")
        model, x = calls.place(asked, seed=_SEED)
        forward: calls.Forward = model
        if exporting.needed(cell):
            enter(exporting.PHASE)
            forward = exporting.taken_over(cell, model, x).forward
        if cell.compiled:
            enter("compiling")
            assert isinstance(forward, nn.Module), "torch's own"
            forward = compiled(cell, forward, x, lambda *_: None, World())
        enter("warming up")
        yield model, x, calls.call(cell, forward, x, forget=calls.forget(model, x))


def cell_of(folder: Path, key: str) -> Cell:
    """Return a cell of a run by its key.

    Raises:
        StoreError: it is not there.
    """
    for record in store.read(folder):
        if record.cell.key == key:
            return record.cell
    raise StoreError(f"{folder} has no cell {key}; give the key of one of its rows")


def main(folder: Path, key: str, channel: int) -> None:
    """Profile a cell of a run, saying on the channel what was found or why nothing was."""
    say = voice.opened(channel)
    try:
        explain(cell_of(folder, key), say)
    except Exception as error:  # a plugin may raise anything
        say({"event": "failed", "reason": raised.in_words(error)})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        call_in_a_range(cell_of(Path(sys.argv[1]), sys.argv[2]))
    else:
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)  # all is said; a thread that a plugin left behind would keep the parent waiting
