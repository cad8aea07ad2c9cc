"""A worker: takes groups from a folder, measures them, appends their rows to a file of its own, until none is left."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnbench import files, store
from attnbench.devices import checkout
from attnbench.devices.idle import IdleWait
from attnbench.errors import StoreError, UsageError, did_you_mean
from attnbench.fleet import leases, planned
from attnbench.fleet.kinds import HardwareKind
from attnbench.fleet.leases import Leases
from attnbench.fleet.means import MachineMeans
from attnbench.fleet.planned import PlannedGroup, SweepPlan
from attnbench.fleet.presence import SILENT_S, Liveness, Observer, Presence
from attnbench.fleet.row_index import RowIndex
from attnbench.plan.described import describe
from attnbench.record import Cell, Record, Task
from attnbench.runs import limits as machine_limits
from attnbench.runs import proofs, runner
from attnbench.runs.job import Settings
from attnbench.runs.rows import new_run_id
from attnbench.store import parts, unfinished

_MOST_TRIES = 3
"""How often one worker takes a group that then lacks rows all the same."""
_LOOK_S = 1.0
"""Seconds between two looks at groups that others have."""
_LOOKS_IN_A_SILENCE = 0.25
"""Between two looks at all workers, as a share of the time after which one is silent, while groups are to be had."""


@dataclass(slots=True, kw_only=True)
class WorkOutcome:
    """How a worker ended."""

    name: str
    """Of its folder below ``workers/``."""
    rows: int = 0
    groups: int = 0
    elsewhere: int = 0
    """Groups that other workers were at work on when it ended."""
    unfit: int = 0
    """Groups without all rows that this machine cannot do."""
    lost: int = 0
    """Groups that others took over, since this worker had not been heard of."""
    interrupted: bool = False
    busy: str = ""
    """What others did on this machine, which was to be idle, when the worker gave up; empty if it did not."""

    @property
    def words(self) -> tuple[str, ...]:
        """What is to be said of groups that it has not done."""
        said = (
            (self.elsewhere, "groups are with other workers; --wait stays until they are done"),
            (self.unfit, "groups need another machine"),
            (self.lost, "groups were taken over by others, since this worker had not been heard of"),
        )
        busy = [f"{self.busy}; what was left then is for a worker anywhere"] if self.busy else []
        return (*(f"{count} {words}" for count, words in said if count), *busy)


@dataclass(slots=True, kw_only=True)
class FleetWork:
    """What a worker knows."""

    folder: Path
    means: MachineMeans
    silent_s: float = SILENT_S
    wait: bool = False
    """Whether it stays while others are at work, to take over what they may leave."""
    retry: bool = False
    """Whether it measures again what did not end ok."""
    idle: IdleWait | None = None
    """Waits before each group that is timed until nobody else uses the machine; None for not."""
    say: Callable[[str], None] = lambda _: None
    worker_module: str = "attnbench.worker.main"
    sleep: Callable[[float], object] = time.sleep

    def run(self) -> WorkOutcome:
        """Take groups until none is left that this machine can do.

        Raises:
            UsageError: nothing is planned, or not for a kind of this name.
            StoreError: the folder cannot be read or written.
        """
        plans = planned.read(self.folder)
        if not plans:
            raise UsageError(f"nothing is planned in {self.folder}; attnbench plan ... --out {self.folder} does that")
        kinds = {name: kind for plan in plans for name, kind in plan.kinds.items()}
        if self.means.kind and self.means.kind not in kinds:
            known = did_you_mean(self.means.kind, kinds)
            raise UsageError(f"--kind {self.means.kind}: nothing is planned on it; {known}")
        try:
            retries = [parts.retry(part) for part in parts.of(self.folder)]
            presence = Presence(self.folder, kind=self.means.kind)
            if self.retry:
                parts.name_retry(presence.folder, max(retries, default=0) + 1)
            held = Leases(self.folder, presence.folder / "worker.json")
        except OSError as error:
            raise StoreError(f"cannot write {self.folder}: {files.reason_of(error)}") from None
        outcome, why = WorkOutcome(name=presence.facts.name), "stopped"
        try:
            with store.Store(presence.folder) as kept:
                one = _Worker(
                    work=self,
                    presence=presence,
                    leases=held,
                    kept=kept,
                    outcome=outcome,
                    kinds=kinds,
                    project=checkout.project(Path.cwd(), but=self.folder),
                )
                one.run(planned.united(plans))
            why = outcome.busy or "done"
        except KeyboardInterrupt:
            outcome.interrupted, why = True, "interrupted"
        except OSError as error:
            raise StoreError(f"{self.folder}: {files.reason_of(error)}; {outcome.rows} rows are kept") from None
        finally:
            presence.end(why)
        return outcome


@dataclass(slots=True, kw_only=True)
class _Worker:
    """A worker at work."""

    work: FleetWork
    presence: Presence
    leases: Leases
    kept: store.Store
    outcome: WorkOutcome
    kinds: Mapping[str, HardwareKind]
    project: Mapping[str, Any]
    """The commit that it was started in."""
    run_id: str = field(default_factory=new_run_id)
    tried: Counter[str] = field(default_factory=Counter)
    """How often it took each group."""
    bounded: dict[Settings, list[Cell]] = field(default_factory=dict)
    """What was held against the machine's limits, which are measured once more in the end."""
    limited: set[tuple[str, int, str]] = field(default_factory=set)
    """For what the machine's limits are measured."""

    def run(self, groups: Mapping[str, tuple[SweepPlan, PlannedGroup]]) -> None:
        rows = RowIndex(self.work.folder, self.kinds, absent=False)
        rows.refresh()
        if self.work.retry:
            rows.put_failed_aside()
        fit = {name: each for name, each in groups.items() if self.work.means.suffice(each[1], self.kinds)}
        unfit = [each for name, each in groups.items() if name not in fit]
        self.outcome.unfit = sum(not _is_done(each, rows) for each in unfit)
        for name, number in self._offered(fit, rows):
            plan, group = fit[name]
            if self._is_too_busy_for(group):
                break
            if not self.leases.take(name, number):
                continue
            self.tried[name] += 1
            if number > 1:
                rows.refresh()
            self.presence.turn_to(name)
            try:
                self._measure(plan, group, number, rows.of(group, plan.settings))
            finally:
                self.presence.group = ""
                with contextlib.suppress(OSError):  # it is taken over once this worker has ended
                    self.leases.let_go(name, number)
            self.outcome.groups += 1
            rows.refresh(self.presence.folder)
        for settings, cells in self.bounded.items():
            each_s = min(machine_limits.EACH_S, settings.max_time_s)
            machine_limits.measure_after(self.presence.folder, cells, budget_s=each_s, isolation=settings.isolation)

    def _is_too_busy_for(self, group: PlannedGroup) -> bool:
        """Wait for an idle machine before a group that is timed, and return whether that was in vain."""
        if self.work.idle is None or all(cell.task is not Task.COST for cell in group.cells):
            return False
        self.outcome.busy = self.work.idle.wait()
        return bool(self.outcome.busy)

    def _offered(self, fit: Mapping[str, tuple[SweepPlan, PlannedGroup]], rows: RowIndex) -> Iterator[tuple[str, int]]:
        """Yield groups with the number of the lease that would be theirs: the untaken first, the longest first."""
        order = list(fit)
        random.Random(self.presence.facts.name).shuffle(order)  # noqa: S311 - so that workers do not queue for the same
        order.sort(key=lambda name: -fit[name][1].needs.seconds)
        taken = leases.held(self.work.folder)
        observer = Observer(self.work.folder, silent_s=self.work.silent_s)
        looked_s = -math.inf
        for name in order:
            if name not in taken and not _is_done(fit[name], rows):
                if time.monotonic() - looked_s >= _LOOKS_IN_A_SILENCE * self.work.silent_s:
                    # Who is silent by the time that nothing is untaken need not be watched for as long again.
                    observer.look_at_all()
                    looked_s = time.monotonic()
                yield name, 1
        while True:
            rows.refresh()
            held = leases.held(self.work.folder)
            open_ = [name for name in order if self.tried[name] < _MOST_TRIES and not _is_done(fit[name], rows)]
            free, watched, alive = list[tuple[str, int]](), 0, 0
            for name in open_:
                lease = held.get(name)
                if lease is None or lease.over:
                    free.append((name, lease.number + 1 if lease else 1))
                    continue
                facts = leases.holder(self.work.folder, lease)
                seen = observer.of(facts, facts.name if facts else f"{name}.{lease.number}")
                if seen is Liveness.SILENT:
                    free.append((name, lease.number + 1))
                watched += seen is Liveness.NOT_KNOWN
                alive += seen is Liveness.ALIVE
            self.outcome.elsewhere = alive
            if not open_ or not (free or watched or (alive and self.work.wait)):
                return
            yield from free
            if not free:
                self.work.sleep(_LOOK_S)

    def _measure(self, plan: SweepPlan, group: PlannedGroup, number: int, recorded: list[Record]) -> None:
        self._take_limits(plan, group.cells, {record.cell.key for record in recorded})
        folder = self.presence.folder
        known = unfinished.read(folder)
        for record in runner.run(
            plan.sweep_of(group),
            settings=plan.settings,
            folder=folder,
            recorded=recorded,
            known=known,
            limits=machine_limits.read(folder),
            worker_module=self.work.worker_module,
            project=self.project,
            run_id=self.run_id,
            kind=group.needs.kind,
        ):
            if not self.leases.holds(group.name, number):
                self.outcome.lost += 1
                self.work.say(f"group {group.name} was taken over: this worker had not been heard of")
                return
            self.kept.append(record)
            self.outcome.rows += 1
            if "latency_bound_s" in record.metrics:
                self.bounded.setdefault(plan.settings, []).append(record.cell)
            outcome = ": ".join(filter(None, (describe(record.cell), record.status.value, record.reason)))
            self.work.say(f"[{self.outcome.rows}] {outcome}")

    def _take_limits(self, plan: SweepPlan, cells: tuple[Cell, ...], done: set[str]) -> None:
        """Have the machine prove itself, once for each device, threads and type that cells are timed with."""
        timed = [cell for cell in cells if cell.task is Task.COST and cell.key not in done]
        asked = {(cell.device, cell.threads, cell.products) for cell in timed}
        if asked <= self.limited:
            return
        budget_s = min(machine_limits.EACH_S, plan.settings.max_time_s)
        isolation = plan.settings.isolation
        known = machine_limits.measure(self.presence.folder, timed, budget_s=budget_s, isolation=isolation)
        proved = {(device, threads) for device, threads, _ in self.limited}
        if known and (fresh := [cell for cell in timed if (cell.device, cell.threads) not in proved]):
            proofs.take(self.presence.folder, fresh, isolation=isolation)
        self.limited.update(asked)


def _is_done(planned_: tuple[SweepPlan, PlannedGroup], rows: RowIndex) -> bool:
    plan, group = planned_
    return rows.is_done(group, plan.settings)
