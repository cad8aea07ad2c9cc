"""This machine as an engine: one worker, below this process."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.child.foreground import Foreground
from attnbench.devices import gpus, machine, names
from attnbench.engines.engine import Engine, WorkerCount, WorkerOrder
from attnbench.errors import NoMachineError


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """A profile has nothing to say of this machine."""


class LocalEngine(Engine):
    """One worker on this machine, whatever is asked for: two would disturb each other."""

    name = "local"
    Options = LocalOptions
    poll_s = 0.5
    chooses = False

    def __init__(self, folder: Path, options: Any) -> None:  # noqa: ANN401
        super().__init__(folder, options)
        self._worker: tuple[WorkerOrder, Foreground] | None = None

    def close(self) -> None:
        """End the worker, if one is at work."""
        if self._worker is not None:
            self._worker[1].stop()

    def count(self, order: WorkerOrder) -> WorkerCount:
        """Return whether the worker is at work."""
        at_work = self._worker is not None and self._worker[0] == order and self._worker[1].poll() is None
        return WorkerCount(running=int(at_work))

    def start(self, order: WorkerOrder, workers: int) -> str:  # noqa: ARG002 - there is one machine
        """Start a worker, unless one is at work.

        Raises:
            NoMachineError: this machine is of another kind.
        """
        if self._worker is not None and self._worker[1].poll() is None:
            return ""
        here = (machine.cpu().model, *gpus.names())
        if order.kind and not names.is_named(order.called, here):
            raise NoMachineError(f"this one is {', '.join(here)}")
        self._worker = (order, Foreground(order.arguments))
        return "a worker here"

    def shown(self, order: WorkerOrder, workers: int) -> str:  # noqa: ARG002
        """Return the command."""
        return shlex.join(["attnbench", *order.arguments])
