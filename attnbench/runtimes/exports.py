"""Modules that are exported once for all runtimes of a group of cells, and for the process after one that has ended.

Where a runtime ends the process, for lack of memory as a rule, all cells of the group are prepared anew in the next
one. Exporting is most of that: minutes for the maps of large images.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnbench import files
from attnbench.axes import INT8
from attnbench.child.scratch import scratch
from attnbench.files import UnreadableError
from attnbench.record import Cell
from attnbench.runtimes import TORCH, onnx

_TOOK, _PART = "seconds", ".part"
_MOST_BYTES = 1 << 30
"""What is kept in all, and what stays free: what calls returned goes to the same disk, and counts for more."""


class Export(NamedTuple):
    """A file of ONNX, and the seconds that it once took to write what was only copied now.

    Example:
        >>> Export(Path("model.onnx"), spared_s=0.0).path.name
        'model.onnx'
    """

    path: Path
    spared_s: float


@contextmanager
def exported(model: nn.Module, x: Tensor, *, cell: Cell, kept: Path | None) -> Iterator[Export]:
    """Export a module for as long as the block lasts, or take what was kept of the same module and weights.

    Args:
        model: in evaluation mode.
        x: an input.
        cell: what it was made for; its runtime does not matter.
        kept: folder for what others may need again; None where nobody will.

    Raises:
        CannotRunError: it cannot be exported whole.
    """
    with scratch() as folder:
        place = _place(kept, model, x, cell) if kept else None
        spared_s = _taken(place, folder) if place else None
        if spared_s is None:
            began = time.perf_counter()
            onnx.write(model, x, folder)
            if place:
                _keep(folder, place, time.perf_counter() - began)
        yield Export(folder / onnx.FILE, spared_s or 0.0)


def _place(kept: Path, model: nn.Module, x: Tensor, cell: Cell) -> Path | None:
    """Return where a module's export is kept, None for one with tensors whose bytes cannot be told."""
    try:
        return kept / _name(model, x, cell)
    except Exception:  # a plugin's parameters may be anything that looks like a tensor
        return None


def _name(model: nn.Module, x: Tensor, cell: Cell) -> str:
    """Return a name that another module, other weights or another input do not have."""
    given = replace(cell, runtime=TORCH, dtype="float32" if cell.dtype == INT8 else cell.dtype)
    found = hashlib.sha256(f"{given.key} {x.dtype} {tuple(x.shape)} {x.stride()}".encode())
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _taken(place: Path, folder: Path) -> float | None:
    """Copy a kept export into a folder, since quantisers write beside it; return the seconds that it took to make."""
    try:
        took_s = float(files.text_of(place / _TOOK))
        for each in place.glob(f"{onnx.FILE}*"):
            shutil.copyfile(each, folder / each.name)
    except (OSError, UnreadableError, ValueError):
        return None
    return took_s if math.isfinite(took_s) else None


def _keep(folder: Path, place: Path, took_s: float) -> None:
    """Put a copy in place, whole or not at all; where there is little room there is none."""
    made = list(folder.glob(f"{onnx.FILE}*"))
    part = place.with_name(f"{place.name}{_PART}")
    size = sum(each.stat().st_size for each in made)
    if _held(place.parent) + size > _MOST_BYTES or shutil.disk_usage(folder).free < size + _MOST_BYTES:
        return
    try:
        part.mkdir(parents=True, exist_ok=True)
        for each in made:
            shutil.copyfile(each, part / each.name)
        (part / _TOOK).write_text(repr(took_s), encoding="ascii")
        part.rename(place)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)


def _held(kept: Path) -> int:
    return sum(each.stat().st_size for each in kept.glob("*/*"))
