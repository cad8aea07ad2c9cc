"""The table of tasks: a row a task, with the axis that it is swept over. Imports no torch.

A task is asked for as ``NAME`` or ``NAME:AXIS=VALUE,VALUE``; without values, those of its row are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from attnbench.errors import DataError, did_you_mean
from attnbench.ranges import Range, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTask:
    """What a mechanism is to learn on maps of its own, and along which axis that becomes hard.

    Maps are (height, width) tokens; every token is given to the network as it is, without a patch embedding.
    """

    name: str
    help: str
    """What is to be learned, in a line."""
    axis: str
    """The option that sweeps it."""
    unit: str
    """What its values count."""
    values: tuple[int, ...]
    """Those of a sweep where none are asked for."""
    within: Range
    """Those that can be asked for."""
    height: int
    width: int
    symbols: int
    """Answers that there are, all as likely: chance is one in so many."""
    practised: tuple[int, ...] = ()
    """Values that one training is given in turn, before it is examined at all that are asked for, 0 for any.

    Empty where each value is trained for by itself.
    """
    garments: bool = False
    """Whether maps show garments of Fashion-MNIST."""
    epochs: int
    """Epochs, each of ``STEPS`` batches, that comparing mechanisms takes."""

    @property
    def chance(self) -> float:
        """The share that is right by who guesses."""
        return 1 / self.symbols

    @property
    def usual(self) -> str:
        """How the task is asked for with the values that it has without any."""
        return f"{self.name}:{self.axis}={','.join(map(str, self.values))}"


STEPS = 50
"""Batches of an epoch; no map comes twice."""
BATCH = 8
"""Maps of a batch."""
HELD_OUT = 64
"""Maps that a network is examined with, at each value of the axis."""

_ROWS = (
    ProbeTask(
        name="shift", help="name the symbol that lies an offset to the left",
        axis="offset", unit="tokens", values=(1, 2, 4, 8, 16), within=whole(1, 23, "tokens"),
        height=6, width=24, symbols=8, epochs=5,
    ),
    ProbeTask(
        name="recall", help="find the one of 8 keys that is asked for, and name its value, by how far away it lies",
        axis="distance", unit="tokens", values=(1, 2, 4, 8, 16), within=whole(1, 23, "tokens"),
        height=6, width=24, symbols=8, practised=(0,), epochs=12,
    ),
    ProbeTask(
        name="recall-pairs", help="find the key that is asked for, and name its value, by how many keys there are",
        axis="pairs", unit="keys with their values", values=(4, 8, 16), within=whole(2, 16, "pairs"),
        height=6, width=24, symbols=8, practised=(2, 4, 2, 8, 2, 16), epochs=12,
    ),
    ProbeTask(
        name="same-different", help="say whether a garment is the one that is shown a distance away, or another",
        axis="distance", unit="tokens", values=(1, 2, 4, 8, 16), within=whole(1, 23, "tokens"),
        height=6, width=24, symbols=2, practised=(0,), epochs=12, garments=True,
    ),
)  # fmt: skip

TASKS: Mapping[str, ProbeTask] = MappingProxyType({row.name: row for row in _ROWS})
"""Every task by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTask:
    """A task and the values of its axis that were asked for."""

    task: ProbeTask
    values: tuple[int, ...]


def is_task(dataset: str) -> bool:
    """Return whether what ``--accuracy`` is given is one of the tasks, however its values are written.

    Example:
        >>> is_task("shift:offset=4"), is_task("digits")
        (True, False)
    """
    return dataset.partition(":")[0] in TASKS


def size(dataset: str) -> tuple[int, int] | None:
    """Return height and width of the maps of what ``--accuracy`` is given, in tokens; None if it is no task."""
    task = TASKS.get(dataset.partition(":")[0])
    return (task.height, task.width) if task else None


def read(dataset: str) -> AskedTask:
    """Return the task that ``--accuracy`` asks for.

    Raises:
        DataError: there is none of that name, or its axis has no such values.

    Example:
        >>> read("shift:offset=8,2").values
        (2, 8)
    """
    name, _, option = dataset.partition(":")
    if name not in TASKS:
        raise DataError(f"no task is called {name!r}; {did_you_mean(name, TASKS)}")
    task = TASKS[name]
    if not option:
        return AskedTask(task=task, values=task.values)
    axis, _, written = option.partition("=")
    if axis != task.axis:
        raise DataError(f"{name} has no option {axis!r}; write {task.usual}")
    try:
        values = sorted({task.within(text.strip()) for text in written.split(",")})
    except ValueError as error:
        raise DataError(f"{name}:{option}: {error}; write {task.usual}") from None
    return AskedTask(task=task, values=tuple(values))
