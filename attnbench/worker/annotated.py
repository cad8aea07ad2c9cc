"""What is done to a cell that asks for the score of a checkpoint of a network and its head on annotated images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from attnbench import devices
from attnbench.accuracy.dense import evaluation
from attnbench.accuracy.dense.table import asked, scale_at
from attnbench.models import subject
from attnbench.models.dense import DenseTask
from attnbench.models.dense.resized import SizeRefusedError
from attnbench.record import Cell, Status
from attnbench.worker.ready import Enter, Metrics, Unmeasurable


def evaluate(cell: Cell, enter: Enter, progress: Callable[[float], None]) -> Metrics:
    """Show a network under its head, with a checkpoint's weights, every validation image.

    Args:
        cell: of a network under a head.
        enter: called with the name of a phase before it starts.
        progress: called with the part of a phase that is done.

    Raises:
        Unmeasurable: the network does not take images of a size that is needed.
    """
    enter("loading")
    why = subject.of(cell).why_unsupported()
    if why:
        raise Unmeasurable(Status.UNSUPPORTED, why)
    task, scale = DenseTask(cell.head), scale_at(cell.dataset, cell.height, cell.width)
    model, remark = evaluation.build(
        Path(cell.checkpoint).expanduser(), task, cell.network, cell.options, height=cell.height, width=cell.width
    )
    enter("evaluating")
    try:
        found = evaluation.evaluate(
            model,
            cell.dataset,
            task,
            scale=scale,
            divisor=cell.size_divisor,
            device=devices.of(cell.device).where,
            progress=lambda done, total: progress(done / total),
        )
    except SizeRefusedError as error:
        raise _explained(cell, error) from error
    usual = asked(cell.dataset)[0].scale
    size = f"with shorter sides of {scale.shorter} pixels, not the {usual.shorter} of papers" if scale != usual else ""
    return replace(found, remark="; ".join(filter(None, [size, remark, found.remark]))).to_metrics()


def _explained(cell: Cell, error: SizeRefusedError) -> Exception:
    """Return why a network failed on images of a size: that it takes none of it, or what it raised."""
    height, width = error.size
    why = subject.of(replace(cell, height=height, width=width, size_divisor=0)).why_unsupported()
    if why:
        advice = "" if cell.size_divisor else "; --pad 32 pads images to multiples of 32"
        return Unmeasurable(Status.UNSUPPORTED, f"images of the data set come as {why}{advice}")
    cause = error.__cause__
    return cause if isinstance(cause, Exception) else error
