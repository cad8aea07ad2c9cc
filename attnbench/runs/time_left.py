"""About how long the rest of a sweep takes, by what its cells took so far. Imports no torch.

What a cell takes is its timing, for which its time is given, and its work: all that stands before and after. Both are
read off the cells that came so far, those of the nearest resolution. With the number of pixels grows what consists of
calls: of the work the share that the warm-up was, and a timing that the fewest calls draw out. Time
that passes while a cell is at work is taken off what it was expected to take, and never off what stands behind it: so
what is said falls while one thing goes on, and rises only when something new is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from attnbench.record import Cell, Task
from attnbench.runs.progress import Progress

TIMING, _WARMING = "timing", "warming up"
_OVER = 1.5
"""Times its budget that a timing may take before it is the fewest calls that it takes long for: a worker's end is in
it, too."""


@dataclass(slots=True, kw_only=True)
class _Group:
    """Cells that are timed in turn, or that one after the other ask for the same at one resolution."""

    pixels: int
    is_timed: bool
    total: int = 0
    left: set[str] = field(default_factory=set)
    """Keys of cells without a row."""
    begun: set[str] = field(default_factory=set)
    """Keys of cells that were at work."""
    work_s: float = 0.0
    warming_s: float = 0.0
    """Of it, in nothing but calls."""
    worked_s: float = 0.0
    """Of it, until the last row."""
    prepared_s: float = 0.0
    """Of it, until the timing."""
    work_each_s: float | None = None
    """The work for a cell, once that is known."""
    timing_s: float = 0.0
    timed: bool = False
    """Whether its timing has ended."""
    each: int = 1
    """Calls that are timed in turn, those of a baseline that has its row included."""

    def learn(self, *, to_come_each_s: float = 0.0) -> None:
        """Note what a cell takes, as far as that is known by now, and what is expected to come to it."""
        ended = self.total if self.is_timed else self.total - len(self.left)
        self.work_each_s = self.work_s / ended + to_come_each_s


class TimeLeft:
    """What is known of how long the cells of a sweep take."""

    def __init__(self, cells: Sequence[Cell], *, timing_s: float, now_s: float) -> None:
        """Begin.

        Args:
            cells: all that are to come.
            timing_s: given to the timed calls of a cell.
            now_s: the clock.
        """
        self._timing_s = timing_s
        self._groups: dict[str, _Group] = {}
        self._group_of: dict[str, _Group] = {}
        for cell in cells:
            pixels = cell.height * cell.width * cell.batch
            group = self._groups.setdefault(cell.group, _Group(pixels=pixels, is_timed=cell.task is Task.COST))
            group.total += 1
            group.left.add(cell.key)
            self._group_of[cell.key] = group
        self._now: Progress | None = None
        self._at_work: _Group | None = None
        self._charged_s = self._entered_s = now_s

    def watch(self, progress: Progress, now_s: float) -> None:
        """Take in what is going on."""
        self._charge(now_s)
        if self._now is None or (self._now.phase, self._now.cells) != (progress.phase, progress.cells):
            self._entered_s = now_s
        self._now = progress
        self._at_work = next((found for cell in progress.cells if (found := self._group_of.get(cell.key))), None)
        if self._at_work is not None:
            self._at_work.begun.update(cell.key for cell in progress.cells)
            if progress.phase != TIMING:
                self._at_work.timed = self._at_work.timing_s > 0
            elif self._at_work.work_each_s is None:
                self._at_work.each = len(progress.cells)
                self._at_work.prepared_s = self._at_work.work_s
                self._at_work.learn(to_come_each_s=self._verifying_each_s(self._at_work))

    def end(self, cell: Cell, now_s: float) -> None:
        """Take in that a cell has its row."""
        self._charge(now_s)
        group = self._group_of.get(cell.key)
        if group is None:
            return
        group.left.discard(cell.key)
        group.worked_s = group.work_s
        group.timed = group.timing_s > 0
        if not (group.is_timed and group.left):
            group.learn()

    def seconds(self, now_s: float) -> float | None:
        """Return about how many seconds are left; None as long as nothing tells."""
        self._charge(now_s)
        open_groups = [group for group in self._groups.values() if group.left]
        parts = [self._of(group, now_s) for group in open_groups]
        return None if None in parts else sum(filter(None, parts))

    def _charge(self, now_s: float) -> None:
        """Put the time since it was last looked at down to what was going on."""
        passed_s, self._charged_s = now_s - self._charged_s, now_s
        if self._at_work is None or self._now is None:
            return
        if self._now.phase == TIMING:
            self._at_work.timing_s += passed_s
        else:
            self._at_work.work_s += passed_s
            self._at_work.warming_s += passed_s if self._now.phase == _WARMING else 0.0

    def _of(self, group: _Group, now_s: float) -> float | None:
        timing_s = self._timing_left(group)
        if group is self._at_work and self._now is not None and not group.is_timed and self._now.fraction:
            return self._by_fraction(group, self._now.fraction, now_s)
        each_s = self._work_each_s(group)
        if each_s is None:
            return None
        if group.is_timed and (group.timed or self._is_timing(group)):
            whole_s = max(each_s * group.total, group.prepared_s + self._verifying_each_s(group) * group.total)
            return timing_s + max(0.0, whole_s - group.work_s)
        untouched = len(group.left - group.begun)
        own_s = group.work_s if group.is_timed else group.work_s - group.worked_s
        whole_s = each_s * (group.total if group.is_timed else len(group.left))
        return timing_s + max(whole_s - own_s, each_s * untouched)

    def _verifying_each_s(self, group: _Group) -> float:
        """Return how long cells take after their timing, by the nearest group that is through.

        While none is, it is what the warm-up took: both are a few calls of each.
        """
        nearest = self._nearest(group, [one for one in self._groups.values() if one.timed and not one.left])
        if nearest is None:
            return group.warming_s / group.total
        return (nearest.work_s - nearest.prepared_s) / nearest.total

    def _is_timing(self, group: _Group) -> bool:
        return group is self._at_work and self._now is not None and self._now.phase == TIMING

    def _by_fraction(self, group: _Group, fraction: float, now_s: float) -> float:
        """Return what is left of a cell that says how much of it is done, as a training does, and of those like it."""
        whole_s = (now_s - self._entered_s) / fraction
        return whole_s * (1 - fraction) + (len(group.left) - 1) * (self._work_each_s(group) or whole_s)

    def _timing_left(self, group: _Group) -> float:
        if not group.is_timed or group.timed:
            return 0.0
        if self._is_timing(group) and self._now is not None:
            return self._timing_s * group.each * (1 - min(self._now.fraction or 0.0, 1.0))
        nearest = self._nearest(group, [one for one in self._groups.values() if one.timed])
        each_s = nearest.timing_s / nearest.each if nearest else self._timing_s
        if nearest and each_s > _OVER * self._timing_s:
            each_s *= max(1.0, group.pixels / nearest.pixels)
        return each_s * len(group.left)

    def _work_each_s(self, group: _Group) -> float | None:
        """Return the work for a cell of a group, by the nearest of those of which it is known."""
        alike = [one for one in self._groups.values() if one.is_timed == group.is_timed and one is not group]
        nearest = self._nearest(group, [one for one in alike if one.work_each_s is not None])
        own_s = group.work_each_s
        if own_s is not None or nearest is None:
            return own_s
        share = min(1.0, nearest.warming_s / nearest.work_s) if nearest.work_s else 0.0
        return (nearest.work_each_s or 0.0) * (1 + share * (max(1.0, group.pixels / nearest.pixels) - 1))

    @staticmethod
    def _nearest(group: _Group, known: Sequence[_Group]) -> _Group | None:
        """Return that of some groups whose images are nearest in size; of several the latest."""
        return min(reversed(known), key=lambda one: abs(math.log(one.pixels / group.pixels)), default=None)
