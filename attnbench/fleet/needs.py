"""What a group is expected to need: a device, a kind of hardware, cores, memory and time.

Memory and time are guesses, made from sizes alone so that a sweep of ten thousand cells is planned at once. They decide
who takes a group and how long a job may run, and no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench import runtimes
from attnbench.record import Cell, Mode, Scope, Task
from attnbench.runs.job import Settings

_PROCESS_BYTES = 3 * 2**29
"""Of a process that has loaded torch, with the weights of a network twice."""
_PIXEL_BYTES = {Mode.INFER: 264, Mode.TRAIN: 16_000}
"""Peak for each pixel of an image, in float32, without scores of N x N: measured of the backbone at 224 and 512."""
_START_S = 2.0
"""For a group to start, and for its referee."""
_TASK_S = {Task.COUNTS: 0.5, Task.MEMORY: 3.0, Task.COST: 6.0, Task.ACCURACY: 0.0}
"""For one cell, what is timed left out: building, counting, memory, warming up, verifying."""
_PIXEL_S = 4e-7
"""Of a call on one thread of a CPU, for each pixel of an image: the median of four layers in
``results/reference/cpu-runtimes-amd-epyc-1-core`` is 3.3e-7 at 224 and 3.8e-7 at 512, the longest ten times that."""
_CALLS = 20
"""Of a timed cell however short its time: validated, warmed up, timed six times or more, verified."""
_EXPORT_S = 5.0
"""For a runtime to take a module over: 2 s in float32 there, 3 to 8 s in int8."""
_EPOCH_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNeeds:
    """What a machine must have for a group."""

    device: str
    """By its full name, such as ``cuda:0``."""
    threads: int
    """CPU threads: as many cores are needed."""
    memory_bytes: int
    """Of the device, expected."""
    seconds: float
    """Expected."""
    kind: str = ""
    """Of hardware; empty for any."""


def of(cells: Sequence[Cell], settings: Settings, *, kind: str = "") -> GroupNeeds:
    """Return what a group needs.

    Args:
        cells: of the group; not empty.
        settings: how they are measured.
        kind: of hardware that they are asked for on; empty for any.
    """
    return GroupNeeds(
        device=cells[0].device,
        threads=max(cell.threads for cell in cells),
        memory_bytes=_PROCESS_BYTES + _held_bytes(cells),
        seconds=_START_S + sum(_seconds(cell, settings) for cell in cells),
        kind=kind,
    )


def _held_bytes(cells: Sequence[Cell]) -> int:
    """Return what calls take: torch gives back what one took before the next, runtimes keep it for theirs."""
    in_torch = [_bytes(cell) for cell in cells if cell.runtime == runtimes.TORCH]
    return max(in_torch, default=0) + sum(_bytes(cell) for cell in cells if cell.runtime != runtimes.TORCH)


def _bytes(cell: Cell) -> int:
    if cell.task is Task.COUNTS:
        return 0
    each = 2 if cell.dtype in {"bfloat16", "float16"} else 4  # int8 is made of a module of float32
    share = max(1, cell.depth) / 4 if cell.scope is Scope.LAYER else 1
    return int(cell.batch * cell.height * cell.width * _PIXEL_BYTES[cell.mode] * share * each / 4)


def _seconds(cell: Cell, settings: Settings) -> float:
    known = _TASK_S[cell.task]
    if cell.task is Task.COST:
        energy_s = settings.energy_s if settings.energy else 0.0
        export_s = _EXPORT_S if cell.runtime != runtimes.TORCH else 0.0
        return known + max(settings.max_time_s, _calls_s(cell)) + energy_s + export_s
    if cell.task is Task.ACCURACY:
        return _EPOCH_S * max(1, cell.epochs) * max(1, cell.seeds)
    return known


def _calls_s(cell: Cell) -> float:
    """Return the time of the calls that a timed cell takes at least; nothing is guessed of accelerators."""
    if cell.device != "cpu":
        return 0.0
    share = max(1, cell.depth) / 4 if cell.scope is Scope.LAYER else 1
    passes = 3 if cell.mode is Mode.TRAIN else 1
    return _CALLS * passes * cell.batch * cell.height * cell.width * _PIXEL_S * share
