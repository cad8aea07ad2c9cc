"""What is to be done, on disk: groups of cells and what each needs, a file for each plan under ``plans/``.

A plan is written once, whole, and never changed: two that are made at once lose nothing, and readers take all of them.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from attnbench import __version__, files
from attnbench.errors import StoreError
from attnbench.fleet import needs
from attnbench.fleet.kinds import HardwareKind
from attnbench.fleet.needs import GroupNeeds
from attnbench.plan.sweep import Sweep
from attnbench.reading import MisreadError
from attnbench.record import Cell, Status, Task, Unit
from attnbench.runs.job import Settings
from attnbench.runs.sharing import sharing
from attnbench.store.parts import PLANS

_COUNTED_TOGETHER = 32
"""Cells that are only counted, of one group: they disturb nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a cell ends that is not run."""

    status: Status
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGroup:
    """Cells that one worker measures together."""

    name: str
    """The same for the same comparison on the same kind of hardware, whichever plan it is in."""
    cells: tuple[Cell, ...]
    needs: GroupNeeds
    baseline: str = ""
    """Key of the cell that ratios refer to; empty for none."""

    @property
    def units(self) -> list[Unit]:
        """What is to have a row."""
        return [(cell.key, self.needs.kind) for cell in self.cells]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """A sweep as groups, with how it is measured."""

    command: str
    settings: Settings
    groups: tuple[PlannedGroup, ...]
    endings: Mapping[str, Ending] = field(default_factory=dict)
    """Of cells that are not run, by their key."""
    kinds: Mapping[str, HardwareKind] = field(default_factory=dict)
    """Kinds of hardware that are asked for, by their names."""
    attnbench_version: str = ""

    @property
    def cells(self) -> int:
        """How many rows there are to be."""
        return sum(len(group.cells) for group in self.groups)

    def sweep_of(self, group: PlannedGroup) -> Sweep:
        """Return one group as a sweep of its own."""
        baselines = {cell.group: group.baseline for cell in group.cells[:1] if group.baseline}
        here = [cell.key for cell in group.cells] if self.endings else []
        endings = {key: (self.endings[key].status, self.endings[key].reason) for key in here if key in self.endings}
        return Sweep(cells=group.cells, baselines=baselines, endings=endings)


def plan_of(
    sweeps: Mapping[str, Sweep], *, settings: Settings, command: str, kinds: Iterable[HardwareKind] = ()
) -> SweepPlan:
    """Return sweeps as a plan.

    Args:
        sweeps: by the kind of hardware that each is asked for on; empty for any.
        settings: how cells are measured.
        command: what was typed.
        kinds: those that are asked for.
    """
    groups = [group for kind, sweep in sweeps.items() for group in _groups(sweep, settings, kind)]
    endings = {
        key: Ending(status=status, reason=reason)
        for sweep in sweeps.values()
        for key, (status, reason) in sweep.endings.items()
    }
    return SweepPlan(
        command=command,
        settings=settings,
        groups=tuple(groups),
        endings=endings,
        kinds={kind.name: kind for kind in kinds},
        attnbench_version=__version__,
    )


def keep(folder: Path, plan: SweepPlan) -> Path:
    """Write a plan beside those that are there, and return its file.

    Raises:
        StoreError: it cannot be written.
    """
    text = json.dumps(_written(plan), separators=(",", ":"))
    path = folder / PLANS / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.put(path, f"{text}\n", sync=True)
    except OSError as error:
        said = files.reason_of(error)
        raise StoreError(f"cannot write {folder}: {said}; give another folder with --out") from None
    return path


def read(folder: Path) -> tuple[SweepPlan, ...]:
    """Return the plans of a folder, none if it has none.

    Raises:
        StoreError: one cannot be read.
    """
    found = []
    for path in sorted((folder / PLANS).glob("*.json")):
        try:
            plan = files.json_of(path, SweepPlan)
        except MisreadError as error:
            raise StoreError(f"{error}; remove the file and plan again") from None
        if plan.attnbench_version != __version__:
            said = f"{path} was planned by attnbench {plan.attnbench_version}, and this is {__version__}"
            warnings.warn(said, stacklevel=2)
        found.append(plan)
    return tuple(found)


def united(plans: Sequence[SweepPlan]) -> dict[str, tuple[SweepPlan, PlannedGroup]]:
    """Return the groups of all plans by their names, each with the last plan that has it and the cells of all."""
    found: dict[str, tuple[SweepPlan, PlannedGroup]] = {}
    for plan in plans:
        for group in plan.groups:
            if group.name not in found:
                found[group.name] = (plan, group)
                continue
            other_plan, other = found[group.name]
            if other.cells == group.cells:
                continue
            more = {cell.key: cell for cell in (*other.cells, *group.cells)}
            cells, kind = tuple(more.values()), group.needs.kind
            endings = {**other_plan.endings, **plan.endings}
            found[group.name] = (
                replace(plan, endings=endings),
                replace(group, cells=cells, needs=needs.of(cells, plan.settings, kind=kind)),
            )
    return found


def _groups(sweep: Sweep, settings: Settings, kind: str) -> Iterable[PlannedGroup]:
    for cells in sharing(sweep.cells):
        if cells[0].task is Task.COUNTS:
            for start in range(0, len(cells), _COUNTED_TOGETHER):
                part = cells[start : start + _COUNTED_TOGETHER]
                yield _group(",".join(cell.key for cell in part), part, settings, kind)
        else:
            shared = cells[0].group
            yield _group(shared, cells, settings, kind, baseline=sweep.baselines.get(shared, ""))


def _group(what: str, cells: Sequence[Cell], settings: Settings, kind: str, *, baseline: str = "") -> PlannedGroup:
    name = hashlib.sha256(f"{what} on {kind}".encode()).hexdigest()[:16]
    found = needs.of(cells, settings, kind=kind)
    return PlannedGroup(name=name, cells=tuple(cells), needs=found, baseline=baseline)


def _written(plan: SweepPlan) -> dict[str, Any]:
    """Return a plan for JSON; of cells what differs from the defaults, since there may be ten thousand."""
    content = {each.name: getattr(plan, each.name) for each in fields(plan)}
    content["settings"] = asdict(plan.settings)
    content["endings"] = {key: asdict(each) for key, each in plan.endings.items()}
    content["kinds"] = {name: asdict(each) for name, each in plan.kinds.items()}
    content["groups"] = [
        {
            "name": group.name,
            "cells": [_cell(cell) for cell in group.cells],
            "needs": asdict(group.needs),
            "baseline": group.baseline,
        }
        for group in plan.groups
    ]
    return content


@cache
def _defaults() -> Mapping[str, Any]:
    return {each.name: each.default for each in fields(Cell)}


def _cell(cell: Cell) -> dict[str, Any]:
    defaults = _defaults()
    found = {name: getattr(cell, name) for name in defaults}
    return {name: value for name, value in found.items() if value != defaults[name] and value not in ({}, ())}
