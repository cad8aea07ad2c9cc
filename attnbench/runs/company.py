"""Which cells of a group get a process without others of it: what they change, or what befell them in company.

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
    """The cells that share a process, and those that are to be measured without others of them."""

    beside: list[Cell] = field(default_factory=list)
    """Cells of plugins that the worker at work has begun with."""
    begun: list[Cell] = field(default_factory=list)
    """Cells that it has begun with: what it holds for them, or failed to let go."""
    compared: list[Cell] = field(default_factory=list)
    """Those of them that it has only to compare with."""
    waiting: list[Assignment] = field(default_factory=list)
    """Cells that are to have a process without other plugins."""
    crowded: list[Assignment] = field(default_factory=list)
    """Cells of no plugin for which there was no memory beside the others; they are next, together."""
    alone: list[Assignment] = field(default_factory=list)
    """Cells for which there was none beside the baseline either; they are last, and have no ratio."""

    def enter(self) -> None:
        """Note that a worker starts, which holds nothing yet."""
        for cells in (self.beside, self.begun, self.compared):
            cells.clear()

    def begin(self, assignment: Assignment) -> None:
        """Note that a worker has begun with a cell."""
        if assignment.foreign and assignment.cell not in self.beside:
            self.beside.append(assignment.cell)
        if assignment.cell not in self.begun:
            self.begun.append(assignment.cell)
        if assignment.companion and assignment.cell not in self.compared:
            self.compared.append(assignment.cell)

    def next(self, reference: Sequence[Assignment]) -> list[Assignment]:
        """Return what the next process is for, empty if no cell waits any more.

        Args:
            reference: what cells are compared with that are timed apart.
        """
        if self.crowded:
            found, self.crowded = self.crowded, []
            return [*reference, *found]
        if self.waiting:
            return [*reference, self.waiting.pop(0)]
        return [self.alone.pop(0)] if self.alone else []

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

    def lacks_room(self, assignment: Assignment, status: Status, reason: str) -> bool:
        """Return whether the others may have taken the memory that a cell lacked, and let it wait if so.

        It is told to be out of memory only where it was by itself: beside others it waits for a process with fewer of
        them, then for one with the baseline alone, and for one without.
        """
        others = [cell for cell in self.begun if cell != assignment.cell]
        if status is not Status.OUT_OF_MEMORY or assignment.companion or not others:
            return False
        if all(cell in self.compared for cell in others):
            waits = self.alone
        else:
            waits = self.waiting if assignment.foreign or assignment.apart else self.crowded
        waits.append(_apart(assignment, f"{status.value} beside {_listed(others)}: {reason}"))
        return True

    def wait_for_room(self, assignment: Assignment, why: str) -> None:
        """Let a cell that was still to come wait for a process with fewer others."""
        self.crowded.append(_apart(assignment, why))


def _apart(assignment: Assignment, why: str) -> Assignment:
    return replace(assignment, apart=why, known={**assignment.known, APART: why})


def _listed(cells: Sequence[Cell]) -> str:
    said = ", ".join(f"{cell.label} [{cell.distribution}]" for cell in cells[:_NAMED])
    return said + (f" and {len(cells) - _NAMED} others" if len(cells) > _NAMED else "")
