"""Two revisions of a cell that cannot share a process: one each, in lock-step, started as often as it takes.

They take turns: a sample in each per round, in random order, the other asleep meanwhile. What slows the machine down
slows both of a round alike and cancels in their ratio. Within one start the ratio is precise and yet off: where code
and memory came to lie stays as it is until they end. So a start is a block, and the interval is that of their ratios.

Both are kept on one core, which each start chooses anew as the one that had least to do: on a core that another program
uses they would wait for its turns, which last milliseconds.

Imports torch with the probe, which computes nothing here.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from attnbench.child.scratch import scratch
from attnbench.compare import side
from attnbench.compare.blocks import Sufficiency, TimedBlock
from attnbench.compare.side import LockstepSide
from attnbench.devices import machine
from attnbench.probes import interference, latency
from attnbench.record import Cell, Record, Value
from attnbench.runs.job import Assignment, Settings

FEWEST = 6
"""Starts of both processes that are timed whatever they cost."""
LONGEST_S = 90.0
"""Time for the starts of one cell, once there are the fewest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What both revisions of a cell showed in processes of their own."""

    records: Mapping[str, Record]
    """Without latencies, by ``base`` and ``head``."""
    blocks: tuple[TimedBlock, ...]
    """One a start; empty if one of the sides could not be timed to the end."""
    layers: int
    disturbed: str


@dataclass(slots=True, kw_only=True)
class Starts:
    """Measures a cell from two sources."""

    cell: Cell
    sources: Mapping[str, Path]
    """Package or file that holds the mechanism, by ``base`` and ``head``."""
    settings: Settings
    log: Path
    """File for what the processes print; each side's has its name in it."""
    watcher: Callable[[str], None]
    """Told the name of every phase."""
    started: Callable[[int], object]
    """Told how many starts have been timed, after each."""
    module: str
    clock: Callable[[], float] = time.monotonic

    def measure(self) -> Started:
        """Start the two processes as often as it takes, and put together what they found."""
        metrics: dict[str, dict[str, Value]] = {name: {} for name in self.sources}
        done: dict[str, tuple[str, ...]] = dict.fromkeys(self.sources, ())
        enough = Sufficiency(precision=self.settings.precision, budget_s=LONGEST_S, fewest=FEWEST, first_look=FEWEST)
        blocks, began, watch = list[TimedBlock](), self.clock(), interference.Watch(usage=_usage)
        watch.mark()
        while True:
            sides, block = self._start_once(len(blocks), done)
            for name, one in sides.items():
                metrics[name] |= one.metrics
                done[name] = one.phases_done or done[name]
            if block is None:
                blocks = []
                break
            blocks.append(block)
            self.started(len(blocks))
            if enough.reached(blocks, spent_s=self.clock() - began):
                break
        return Started(
            records={name: one.record(self.cell, metrics[name]) for name, one in sides.items()},
            blocks=tuple(blocks),
            layers=next(iter(sides.values())).layers,
            disturbed="; ".join(watch.report().disturbances),
        )

    def _start_once(
        self, start: int, done: Mapping[str, tuple[str, ...]]
    ) -> tuple[dict[str, LockstepSide], TimedBlock | None]:
        """Start the two processes, which prepare side by side and are then timed by turns."""
        with ExitStack() as stack:
            folder = stack.enter_context(scratch())
            core = machine.idlest_core()
            sides = {
                name: stack.enter_context(
                    side.start(
                        Assignment(cell=self.cell, phases_done=done[name]),
                        source,
                        settings=self.settings,
                        scratch=folder / name,
                        log=self.log.with_suffix(f".{name}{self.log.suffix}"),
                        watcher=self.watcher,
                        module=self.module,
                        core=core,
                    )
                )
                for name, source in self.sources.items()
            }
            # Both are followed to the end of their preparation, so that what each counted is known.
            ready = [one.prepare() for one in sides.values()]
            return sides, self._time(sides, start) if all(ready) else None

    def _time(self, sides: Mapping[str, LockstepSide], start: int) -> TimedBlock | None:
        """Time both in interleaved rounds; None if one ends before its time, which then knows why."""
        self.watcher("timing")
        settings = latency.TimingSettings(
            precision=self.settings.precision, max_time_s=self.settings.max_time_s / FEWEST
        )
        timer = side.TurnsTimer(max(one.shortest_ns for one in sides.values()))
        try:
            timings = latency.time_interleaved(
                sides, baseline="base", settings=settings, timer=timer, seed=self.settings.seed + start
            )
        except side.SideEndedError:
            return None
        base, head = (_samples(timings[name]) for name in ("base", "head"))
        return TimedBlock(base_ns=base, head_ns=head)


def _usage() -> interference.Usage:
    """Return what this process and all that has ended of what it started have cost, which is what is timed here."""
    each = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return interference.Usage(involuntary_switches=0, cpu_s=sum(one.ru_utime + one.ru_stime for one in each))


def _samples(timing: latency.Timing) -> Sequence[int]:
    return [ns // timing.calls_per_sample for ns in timing.elapsed_ns.tolist()]
