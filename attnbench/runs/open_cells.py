"""The cells of a group that have no row yet, what is known of each, and which of them the next process is given.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from attnbench.record import Cell, Value
from attnbench.runs.job import Assignment
from attnbench.worker.objection import Objection


@dataclass(slots=True, kw_only=True)
class OpenCells:
    """What is left of a group."""

    assignments: list[Assignment]
    verifying: bool = False
    """Whether the process at work is the referee."""

    def left(self) -> list[Assignment]:
        """Return what the process at work has still to answer for."""
        return [assignment for assignment in self.assignments if bool(assignment.timed) is self.verifying]

    def are_done(self) -> bool:
        """Return whether no cell is left that is to have a row."""
        return all(assignment.companion for assignment in self.assignments)

    def has(self, cell: Cell) -> bool:
        """Return whether the process at work has still to answer for a cell."""
        return any(assignment.cell is cell for assignment in self.left())

    def of(self, cell: Cell) -> Assignment:
        """Return what is to be done about a cell."""
        return next(assignment for assignment in self.assignments if assignment.cell is cell)

    def drop(self, cell: Cell) -> Assignment:
        """Take a cell out, and return what was to be done about it."""
        assignment = self.of(cell)
        self.assignments = [each for each in self.assignments if each is not assignment]
        return assignment

    def learn(self, cell: Cell, phase: str, metrics: Mapping[str, Value]) -> None:
        """Note what a phase found of a cell, which no later process repeats."""
        for index, assignment in enumerate(self.assignments):
            if assignment.cell is cell:
                known = {**assignment.known, **metrics}
                self.assignments[index] = replace(assignment, known=known, phases_done=(*assignment.phases_done, phase))

    def await_verdict(
        self, assignment: Assignment, metrics: Mapping[str, Value], objections: tuple[Objection, ...]
    ) -> None:
        """Let a cell that was timed, and taken out, wait for the referee; a companion has its row already."""
        if not assignment.companion:
            self.assignments.append(replace(assignment, timed=metrics, objections=objections))

    def settle_in(self, environment_id: str) -> None:
        """Note where cells are measured: what was found elsewhere is found anew."""
        self.assignments = [each.within(environment_id) for each in self.assignments]

    def to_be_judged(self, baseline: str) -> list[Assignment]:
        """Return what the next referee is given: the baseline first, since nothing is compared with one that falls.

        A plugin of others has a referee of its own: what it does to that process is not to be held against anybody
        else.

        Args:
            baseline: key of the cell that ratios refer to; empty for none.
        """
        timed = sorted((each for each in self.assignments if each.timed), key=lambda each: each.cell.key != baseline)
        house = [each for each in timed if not each.foreign]
        return house if house and not timed[0].foreign else timed[:1]
