"""Base and head in one measurement: another revision of the mechanisms against the working tree, in lock-step.

Two versions of a package cannot share a process, so each cell has two, and they take turns: a sample in each per round,
in random order, the other asleep meanwhile. What slows the machine down slows both of a round alike and cancels in
their ratio, as it does between mechanisms: ``attnbench.probes.latency`` runs these rounds as well.

Within one start of the two processes the ratio is precise and yet off: where code and memory came to lie stays as it is
until they end. So they are started STARTS times, and the interval is that of the starts' ratios.

Compared is the code of the packages or files in the repository that hold the mechanisms: base's as the revision has it,
head's as it lies in the working tree, uncommitted changes included. Not compared is what both share: this attnbench,
its backbone and probes included; the names under which mechanisms are installed; every package from elsewhere. What a
build makes, compiled extensions say, is in no revision, so base does not have it.

Imports torch with the probe, which computes nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.child.scratch import scratch
from attnbench.compare import side, worktree
from attnbench.compare.account import Account, Say
from attnbench.compare.pairing import Matched, Pair
from attnbench.compare.runs import compare_matched
from attnbench.compare.side import LockstepSide
from attnbench.compare.verdict import LATENCY, THRESHOLD, Comparison, check_threshold
from attnbench.plugins.registry import discover
from attnbench.probes import latency
from attnbench.probes.interval import Estimate, mean_interval, median_estimate
from attnbench.record import Cell, Record, Task, Value
from attnbench.runs.job import Assignment, Settings
from attnbench.runs.runner import Progress, Watcher

STARTS = 5
"""How often each of the two processes is started. Ratios of unchanged code scattered by 1 % (standard deviation of
seven starts), where the rounds of one start gave intervals of half a percent: five make it an interval of 1.3 %."""

Timings = Mapping[str, latency.Timing]
"""What one start found, by ``base`` and ``head``."""


def rerun(
    revision: str,
    cells: Sequence[Cell],
    *,
    settings: Settings,
    folder: Path,
    threshold: float = THRESHOLD,
    repository: Path | None = None,
    watcher: Watcher = lambda _: None,
    say: Say = lambda _: None,
    worker_module: str = "attnbench.compare.lockstep",
) -> Comparison:
    """Measure cells in another revision and in the working tree at once, and compare.

    Accuracy cells are left out, since a training does not depend on what else the machine does, and so are networks,
    which are not looked up as mechanisms are.

    Args:
        revision: base, whatever git takes for a commit.
        cells: what to measure, as planned for the working tree.
        settings: how to measure.
        folder: where raw samples and logs go.
        threshold: change of a latency, as a fraction, up to which it counts as the same.
        repository: any folder in the repository; the current one by default.
        watcher: called when a cell enters a phase.
        say: given a line before the first cell, after every start and after every cell.
        worker_module: module that does the work.

    Raises:
        UsageError: there is no such revision, a mechanism is not from the repository, or base has none of the cells.
    """
    check_threshold(threshold)
    top = worktree.root(repository or Path.cwd())
    timed = [cell for cell in cells if cell.task is Task.COST and cell.mechanism]
    places = {cell.mechanism: worktree.place(discover().find(cell.mechanism), top) for cell in timed}
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    with worktree.checked_out(top, revision) as tree:
        known = [cell for cell in timed if worktree.holds(tree, places[cell.mechanism])]
        account = Account(cells=known, starts=STARTS, say=say)
        if known:
            account.begin(revision, max_time_s=settings.max_time_s)
        both = [
            _Both(
                cell=cell,
                sources={"base": tree / places[cell.mechanism], "head": top / places[cell.mechanism]},
                settings=settings,
                folder=folder,
                watcher=watcher,
                account=account,
                worker_module=worker_module,
            ).measure()
            for cell in known
        ]
    # Matched as they were measured: where base lacks an option, cells that differ in it are one and the same in base.
    matched = Matched(
        pairs=tuple(Pair(base=one.base, head=one.head) for one in both),
        only_in_base=(),
        only_in_head=tuple(cell for cell in timed if cell not in known),
    )
    ratios = {one.head.cell.key: one.ratio for one in both}

    def ratio(pair: Pair) -> tuple[Estimate, str] | None:
        found = ratios[pair.head.cell.key]
        return None if found is None else (found, "")

    return compare_matched(matched, ratio=ratio, threshold=threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """One cell in both revisions."""

    base: Record
    head: Record
    ratio: Estimate | None
    """head / base, None if one of them could not be timed to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    """One cell, to be measured from two sources."""

    cell: Cell
    sources: Mapping[str, Path]
    """Package or file that holds the mechanism, by ``base`` and ``head``."""
    settings: Settings
    folder: Path
    watcher: Watcher
    account: Account
    worker_module: str

    def measure(self) -> _Measured:
        """Start the two processes as often as it takes, and put together what they found."""
        metrics: dict[str, dict[str, Value]] = {name: {} for name in self.sources}
        done: dict[str, tuple[str, ...]] = dict.fromkeys(self.sources, ())
        timings: list[Timings] = []
        for start in range(STARTS):
            sides, timing = self._start_once(start, done)
            for name, one in sides.items():
                metrics[name] |= one.metrics
                done[name] = one.phases_done or done[name]
            if timing is None:
                break
            timings.append(timing)
            self.account.started(self.cell, start)
        complete = len(timings) == STARTS
        if complete:
            self._keep_samples(timings)
            for name in self.sources:
                metrics[name] |= _latency_metrics([timing[name] for timing in timings], per=sides[name].layers)
        records = {name: one.record(self.cell, metrics[name]) for name, one in sides.items()}
        self.account.ended(self.cell, **records)
        return _Measured(
            **records, ratio=ratio_over_starts([_ratio(timing) for timing in timings]) if complete else None
        )

    def _start_once(
        self, start: int, done: Mapping[str, tuple[str, ...]]
    ) -> tuple[dict[str, LockstepSide], Timings | None]:
        """Start the two processes, which prepare side by side and are then timed by turns."""
        with ExitStack() as stack:
            folder = stack.enter_context(scratch())
            sides = {
                name: stack.enter_context(
                    side.start(
                        Assignment(cell=self.cell, phases_done=done[name]),
                        source,
                        settings=self.settings,
                        scratch=folder / name,
                        log=self.folder / "logs" / f"{self.cell.key}.{name}.log",
                        watcher=self._tell,
                        module=self.worker_module,
                    )
                )
                for name, source in self.sources.items()
            }
            # Both are followed to the end of their preparation, so that what each counted is known.
            ready = [one.prepare() for one in sides.values()]
            return sides, self._time(sides, start) if all(ready) else None

    def _time(self, sides: Mapping[str, LockstepSide], start: int) -> Timings | None:
        """Time both in interleaved rounds; None if one ends before its time, which then knows why."""
        self._tell("timing")
        settings = latency.TimingSettings(
            precision=self.settings.precision, max_time_s=self.settings.max_time_s / STARTS
        )
        timer = side.TurnsTimer(max(one.shortest_ns for one in sides.values()))
        try:
            return latency.time_interleaved(
                sides, baseline="base", settings=settings, timer=timer, seed=self.settings.seed + start
            )
        except side.SideEndedError:
            return None

    def _keep_samples(self, timings: Sequence[Timings]) -> None:
        arrays: dict[str, Any] = {
            f"{name}_{start}_{kind}": array
            for start, timing in enumerate(timings)
            for name, one in timing.items()
            for kind, array in one.to_arrays().items()
        }
        np.savez_compressed(self.folder / "samples" / f"{self.cell.key}.npz", **arrays)

    def _tell(self, phase: str) -> None:
        self.watcher(Progress(cells=(self.cell,), phase=phase))


def ratio_over_starts(ratios: Sequence[float]) -> Estimate:
    """Return the ratio with its 95 % interval, from one median ratio for each start of the processes.

    Student's interval on the scale of logarithms: the starts are independent, and how far they scatter holds
    everything that the rounds of one start have in common.
    """
    found = mean_interval(np.log(ratios).tolist())
    return Estimate(value=math.exp(found.value), low=math.exp(found.low), high=math.exp(found.high))


def _ratio(timings: Timings) -> float:
    ratio = timings["head"].ratio
    assert ratio is not None, "timed without a baseline"
    return ratio.value


def _latency_metrics(timings: Sequence[latency.Timing], *, per: int) -> dict[str, Value]:
    """Return the latency of a layer over all starts; how precise it is by itself is not what a verdict goes by."""
    seconds = np.concatenate([timing.elapsed_ns / (1e9 * timing.calls_per_sample) for timing in timings])
    median = median_estimate(seconds)
    return {
        LATENCY: median.value / per,
        "latency_ci_low_s": median.low / per,
        "latency_ci_high_s": median.high / per,
        "latency_samples": len(seconds),
    }
