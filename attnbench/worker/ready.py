"""A cell that is ready to be timed, what its phases found, and what can keep it from getting there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.models import calls
from attnbench.record import Cell, Status, Value
from attnbench.worker.surroundings import World

Metrics = dict[str, Value]
Enter = Callable[[str], None]
Learn = Callable[[str, Metrics], None]


class Unmeasurable(Exception):  # noqa: N818 - an outcome, not a fault
    """A cell ends here, with a status that says why.

    Args:
        status: of its row.
        reason: why.
        own: whether that is certainly so whatever shares its process.
    """

    def __init__(self, status: Status, reason: str, *, own: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.own = own


class ProcessChangedError(PluginError):
    """A forward pass has changed what others in the process share."""


class Unbearable(Exception):  # noqa: N818 - an outcome, not a fault
    """A plugin has changed the process for everyone, and it cannot be put back: no other cell belongs beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A cell that is built and can be timed."""

    index: int
    cell: Cell
    model: nn.Module
    """Holds the parameters, whatever it was compiled to."""
    x: Tensor
    """Its input, which every call reads."""
    call: calls.Call
    layers: int
    """Layers that the figures are divided by."""
    parameters_bytes: int
    found: Metrics
    """What the phases found, those of an earlier worker included."""
    world: World = field(default_factory=World)
    """What its plugin changed for everyone, to be put on for its calls alone."""
