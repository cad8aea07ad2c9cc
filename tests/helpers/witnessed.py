"""Calls of a layer made as a worker times them, without the worker: beside a witness, whose evidence is read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attnbench.models import calls, subject
from attnbench.record import Cell, Mode, Scope
from attnbench.worker import verification
from attnbench.worker.ready import Ready
from attnbench.worker.verification import Verification
from attnbench.worker.witness import Evidence, Witness

ADVERSARIES = Path(__file__).parent / "adversaries"
HONEST = Path(__file__).parent / "honest_layers" / "kinds.py"


def cell_of(mechanism: object, **axes: object) -> Cell:
    """Return a small layer's cell."""
    usual = {"scope": Scope.LAYER, "height": 64, "width": 64, "stage": 3, "dim": 24, "heads": 3, "depth": 1}
    return Cell(mechanism=str(mechanism), **usual | axes)


def ready(cell: Cell) -> Ready:
    """Build a cell as the phases before the timing do."""
    asked = subject.of(cell)
    model, x = calls.place(asked, seed=0)
    if cell.mode is Mode.INFER:
        model.requires_grad_(False)
    call = calls.call(cell, model, x, forget=calls.forget(model, x))
    return Ready(
        index=0, cell=cell, model=model, x=x, call=call, layers=asked.layers, parameters_bytes=0, found={},
    )  # fmt: skip


def make_calls(one: Ready, path: Path, *, calls: int, before: Callable[[Ready], object] = lambda _: None) -> Evidence:
    """Make calls beside a witness, and return what it wrote.

    Args:
        one: what is called.
        path: of the evidence.
        calls: how many.
        before: done before each call.
    """
    witness = Witness(one)
    for _ in range(calls):
        witness.prepare()
        before(one)
        witness.call()
        witness.testify()
    witness.write(path)
    return Evidence.read(path)


def verified(cell: Cell, path: Path, *, calls: int = 8, taken_s: float = 1e6, exacting: bool = True) -> Verification:
    """Make calls of a cell, and verify them."""
    evidence = make_calls(ready(cell), path, calls=calls)
    return verification.verify(
        cell, evidence, seed=0, taken_s=taken_s, shown_by="attnbench run", call_s=1.0, exacting=exacting
    )
