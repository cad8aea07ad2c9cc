"""From what is asked for to a plan, for any machine or for kinds of hardware that need not be here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.fleet import planned
from attnbench.fleet.kinds import ANY, HardwareKind
from attnbench.fleet.planned import SweepPlan
from attnbench.plan import sweep
from attnbench.plan.described import described
from attnbench.plan.request import Request
from attnbench.runs.job import Settings
from attnbench.store import asked


def plan(
    request: Request,
    settings: Settings,
    kinds: Sequence[HardwareKind],
    *,
    command: str,
    watcher: Callable[[str], None] = lambda _: None,
) -> SweepPlan:
    """Look at what is asked for and return it as groups, for each kind of hardware anew.

    Raises:
        UsageError: anything asked for cannot be used.
    """
    if kinds and "device" in request.axes:
        raise UsageError(
            "--device: a kind of hardware says which device it is; leave it out, or write --hardware NAME=DEVICE"
        )
    found = sweep.look(request, settings, watcher=watcher)
    sweeps = {} if kinds else {ANY: sweep.plan(request, found)}
    for kind in kinds:
        axes = {**request.axes, "device": (kind.device,)}
        axes |= {"threads": (str(kind.threads),)} if kind.threads else {}
        devices = tuple(dict.fromkeys([*found.devices, kind.device]))
        sweeps[kind.name] = sweep.plan(replace(request, axes=axes), replace(found, devices=devices))
    return planned.plan_of(sweeps, settings=settings, command=command, kinds=kinds)


def keep(folder: Path, plan: SweepPlan) -> None:
    """Write a plan, and what it asks for, into the folder of a run.

    Raises:
        StoreError: it cannot be written.
    """
    planned.keep(folder, plan)
    cells = [cell for group in plan.groups for cell in group.cells]
    asked.keep(folder, command=plan.command, cells=described(cells), fresh=False)
