"""Base and head in one measurement: another revision of the mechanisms against the working tree.

Both revisions of a cell are loaded side by side into one process and timed in the same rounds (``together``), as
mechanisms are in a run. What cannot share a process has one each, and these take turns (``starts``).

Compared is the code that lies in the repository: base's as the revision has it, head's as it lies in the working tree,
uncommitted changes included. Not compared is what both share: this attnbench, its backbone and probes included; the
names under which mechanisms are installed; every package from elsewhere; and what a build makes, compiled extensions
say, which is in no revision. A mechanism from elsewhere has the same code on both sides: it is a control.

Imports torch with the probe that ``starts`` times with, which computes nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attnbench import __version__
from attnbench.compare import together, worktree
from attnbench.compare.account import Account, Say
from attnbench.compare.blocks import TimedBlock, detectable, latencies_s, ratio_of_blocks
from attnbench.compare.pairing import Matched, Pair
from attnbench.compare.runs import LatencyRatio, compare_matched
from attnbench.compare.starts import Started, Starts
from attnbench.compare.together import NotTogetherError, Together
from attnbench.compare.verdict import LATENCY, THRESHOLD, Comparison, check_threshold
from attnbench.errors import UsageError
from attnbench.plugins.registry import discover
from attnbench.record import Cell, Record, Status, Task
from attnbench.runs.job import Assignment, Settings
from attnbench.runs.progress import Progress, Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """The modules that children run."""

    together: str = "attnbench.compare.joint"
    apart: str = "attnbench.compare.lockstep"


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
    modules: Modules | None = None,
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
        say: given a line before the first cell, and several for each cell.
        modules: what the children run.

    Raises:
        UsageError: there is no such revision, no mechanism is from the repository, or base has none of the cells.
    """
    check_threshold(threshold)
    top = worktree.root(repository or Path.cwd())
    timed = [cell for cell in cells if cell.task is Task.COST and cell.mechanism]
    places = {cell.mechanism: worktree.place(discover().find(cell.mechanism), top) for cell in timed}
    if places and not any(place.within for place in places.values()):
        raise UsageError(*dict.fromkeys(place.outside(top) for place in places.values()))
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    with worktree.checked_out(top, revision) as tree:
        known = [cell for cell in timed if places[cell.mechanism].held_by(tree)]
        account = Account(cells=known, say=say)
        if known:
            account.begin(revision, max_time_s=settings.max_time_s)
        both = [
            _Both(
                cell=cell,
                place=places[cell.mechanism],
                top=top,
                tree=tree,
                settings=settings,
                folder=folder,
                watcher=watcher,
                account=account,
                modules=modules or Modules(),
            ).measure()
            for cell in known
        ]
    # Matched as they were measured: where base lacks an option, cells that differ in it are one and the same in base.
    matched = Matched(
        pairs=tuple(Pair(base=one.base, head=one.head) for one in both),
        only_in_base=(),
        only_in_head=tuple(cell for cell in timed if cell not in known),
    )
    found = {one.head.cell.key: one for one in both}

    def ratio(pair: Pair) -> LatencyRatio | None:
        return found[pair.head.cell.key].compared(threshold)

    return compare_matched(matched, ratio=ratio, threshold=threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """One cell in both revisions."""

    base: Record
    head: Record
    blocks: tuple[TimedBlock, ...]
    """Empty if one of them could not be timed to the end."""
    remarks: tuple[str, ...]

    def compared(self, threshold: float) -> LatencyRatio | None:
        if not self.blocks:
            return None
        return LatencyRatio(
            change=ratio_of_blocks(self.blocks),
            remark="; ".join(filter(None, self.remarks)),
            detectable=detectable(self.blocks, threshold=threshold),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    """One cell, to be measured in two revisions."""

    cell: Cell
    place: worktree.CodePlace
    top: Path
    tree: Path
    """The checkout of base."""
    settings: Settings
    folder: Path
    watcher: Watcher
    account: Account
    modules: Modules

    def measure(self) -> _Measured:
        """Measure it in one process, and where that cannot be in one for each revision."""
        try:
            found = self._together()
        except NotTogetherError as error:
            self.account.apart(self.cell, str(error))
            found = self._apart(f"timed in a process for each, {error}")
        if found.blocks:
            self._keep_samples(found.blocks)
        self.account.ended(self.cell, base=found.base, head=found.head)
        return found

    def _together(self) -> _Measured:
        cells = [self._from(source) for source in self._sources().values()]
        found = Together(
            assignments=(Assignment(cell=cells[0]), Assignment(cell=cells[1])),
            repository=self.top,
            tree=self.tree,
            settings=self.settings,
            log=self._log,
            watcher=self._tell,
            module=self.modules.together,
        ).measure()
        records = [
            Record(
                cell=replace(self.cell, options=options),
                status=Status.OK,
                metrics=metrics,
                environment=found.environment,
                attnbench_version=__version__,
            )
            for options, metrics in zip(found.options, found.metrics, strict=True)
        ]
        return self._measured(dict(zip(together.SIDES, records, strict=True)), found)

    def _apart(self, why: str) -> _Measured:
        found = Starts(
            cell=self.cell,
            sources=self._sources(),
            settings=self.settings,
            log=self._log,
            watcher=self._tell,
            started=lambda count: self.account.started(self.cell, count),
            module=self.modules.apart,
        ).measure()
        return self._measured(found.records, found, why=why)

    def _measured(self, records: Mapping[str, Record], found: together.Joint | Started, *, why: str = "") -> _Measured:
        """Add what was timed to the records, and what to know of it."""
        if found.blocks:
            latency_s = dict(zip(together.SIDES, latencies_s(found.blocks), strict=True))
            records = {
                name: replace(one, metrics={**one.metrics, LATENCY: latency_s[name] / found.layers})
                for name, one in records.items()
            }
        control = "" if self.place.within else "a control: the code is the same in base and head"
        disturbed = f"{found.disturbed}: both sides alike, and what it shifts is in the interval"
        return _Measured(
            base=records["base"],
            head=records["head"],
            blocks=found.blocks,
            remarks=(control, why, disturbed if found.disturbed else ""),
        )

    def _sources(self) -> dict[str, Path]:
        """Return the package or file that holds the mechanism, of base and of head."""
        return {"base": self.place.source(self.tree), "head": self.place.source(self.top)}

    def _from(self, source: Path) -> Cell:
        """Return the cell with its mechanism from a revision's file, where it is from a file."""
        path, _, attribute = self.cell.mechanism.rpartition(":")
        return replace(self.cell, mechanism=f"{source}:{attribute}") if path.endswith(".py") else self.cell

    @property
    def _log(self) -> Path:
        return self.folder / "logs" / f"{self.cell.key}.log"

    def _keep_samples(self, blocks: Sequence[TimedBlock]) -> None:
        arrays: dict[str, Any] = {
            f"{name}_{number}_elapsed_ns": np.array(samples)
            for number, block in enumerate(blocks)
            for name, samples in (("base", block.base_ns), ("head", block.head_ns))
        }
        np.savez_compressed(self.folder / "samples" / f"{self.cell.key}.npz", **arrays)

    def _tell(self, phase: str) -> None:
        self.watcher(Progress(cells=(self.cell,), phase=phase))
