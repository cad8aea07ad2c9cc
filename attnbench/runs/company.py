"""Which cells of a group get a process without the other plugins: what they change, or what befell them in company.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from attnbench.record import Cell, Status
from attnbench.runs.job import Assignment

APART = "measured_apart"
"""The metric that says why a cell was."""
_OTHERS_DOING = frozenset({Status.FAILED, Status.CRASHED, Status.TIMEOUT})
"""Ends that what is left behind in a process can bring about."""
_NAMED = 3


@dataclass(slots=True, kw_only=True)
class Company:
    """The plugins that share a process, and the cells that are to be measured without them."""

    beside: list[Cell] = field(default_factory=list)
    """Cells of plugins that the worker at work has begun with."""
    waiting: list[Assignment] = field(default_factory=list)
    """Cells that are to have a process without other plugins."""

    def begin(self, assignment: Assignment) -> None:
        """Note that a worker has begun with a cell."""
        if assignment.foreign and assignment.cell not in self.beside:
            self.beside.append(assignment.cell)

    def leave(self, assignment: Assignment, why: str) -> None:
        """Let a cell wait for a process of its own, with what is known of it."""
        if not assignment.companion:
            self.waiting.append(_apart(assignment, why))

    def excuses(self, assignment: Assignment, status: Status, reason: str) -> bool:
        """Return whether a cell that ended badly may have others to thank for it, and let it wait if so.

        It is tried once without them, from the start, before it is blamed.
        """
        others = [cell for cell in self.beside if cell != assignment.cell]
        if assignment.companion or assignment.apart or not others or status not in _OTHERS_DOING:
            return False
        told = f"{status.value} beside {_listed(others)}: {reason}"
        self.waiting.append(_apart(replace(assignment, known={}, phases_done=()), told))
        return True


def _apart(assignment: Assignment, why: str) -> Assignment:
    return replace(assignment, apart=why, known={**assignment.known, APART: why})


def _listed(cells: Sequence[Cell]) -> str:
    said = ", ".join(f"{cell.label} [{cell.distribution}]" for cell in cells[:_NAMED])
    return said + (f" and {len(cells) - _NAMED} others" if len(cells) > _NAMED else "")
