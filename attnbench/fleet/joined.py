"""``attnbench run`` in a folder that many machines share: a plan, one worker of the folder, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from attnbench import inert, store
from attnbench.devices.idle import IdleWait
from attnbench.errors import StoreError, UsageError
from attnbench.fleet import planning
from attnbench.fleet.kinds import HardwareKind
from attnbench.fleet.means import MachineMeans
from attnbench.fleet.work import FleetWork
from attnbench.plan import preflight
from attnbench.plan.request import Request
from attnbench.runs import reporting
from attnbench.runs.job import Settings
from attnbench.runs.loading import report_meanwhile
from attnbench.runs.screen import loading
from attnbench.runs.session import SessionOutcome, folder_of
from attnbench.store import parts


def folder_for(request: Request, kinds: Sequence[HardwareKind], out: Path | None) -> Path | None:
    """Return the folder of a run that many machines share; None where this is a run of this machine alone.

    Args:
        request: what is asked for.
        kinds: of hardware that it is asked for on.
        out: the folder that was given.
    """
    own = folder_of(request)
    if kinds and out is None:
        return own.with_name(f"{own.name}-{'+'.join(kind.name for kind in kinds)}")
    folder = out or own
    return folder if kinds or parts.is_shared(folder) else None


def run(
    request: Request,
    *,
    settings: Settings,
    kinds: Sequence[HardwareKind],
    folder: Path,
    fresh: bool,
    retry: bool,
    console: Console,
    command: str,
    idle_within_s: float | None = None,
) -> SessionOutcome:
    """Plan what is asked for, work on the folder until nothing is left that this machine can do, and report all of it.

    Raises:
        UsageError: anything asked for cannot be used; nothing has run then.
        StoreError: the folder cannot be read or written, or this machine is to be idle and is not.
    """
    with report_meanwhile():
        outcome = measure(
            request,
            settings=settings,
            kinds=kinds,
            folder=folder,
            fresh=fresh,
            retry=retry,
            console=console,
            command=command,
            idle_within_s=idle_within_s,
        )
    if parts.of(folder) and not outcome.interrupted:
        reporting.make_report([folder], out=folder, console=console, command=command)
    if outcome.stopped:
        raise StoreError(outcome.stopped)
    return outcome


def measure(
    request: Request,
    *,
    settings: Settings,
    kinds: Sequence[HardwareKind] = (),
    folder: Path,
    fresh: bool,
    retry: bool,
    console: Console,
    command: str,
    idle_within_s: float | None = None,
) -> SessionOutcome:
    """Plan what is asked for, and work on the folder until nothing is left that this machine can do.

    Raises:
        UsageError: anything asked for cannot be used; nothing has run then.
        StoreError: the folder cannot be read or written.
    """
    if fresh:
        raise UsageError(f"--fresh: others may be at work in {folder}; give another folder with --out")

    def say(line: str) -> None:
        console.print(Text(inert.line(line)), soft_wrap=True)

    with loading(console) as watcher:
        made = planning.plan(request, settings, kinds, command=command, watcher=watcher)
        devices = preflight.take(()).devices
    planning.keep(folder, made)
    ended = FleetWork(
        folder=folder,
        means=MachineMeans.here(devices),
        retry=retry,
        idle=None if idle_within_s is None else IdleWait(within_s=idle_within_s, say=say),
        say=say,
    ).run()
    for line in ended.words:
        say(line)
    if ended.interrupted:
        say("interrupted; run the same command to go on, or a worker anywhere does")
    wanted = {cell.key for group in made.groups for cell in group.cells}
    there = store.read(folder) if parts.of(folder) else []
    return SessionOutcome(
        records=tuple(record for record in there if record.cell.key in wanted),
        interrupted=ended.interrupted,
        stopped=f"{ended.busy}; run the same command to go on" if ended.busy else "",
    )
