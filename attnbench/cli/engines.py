"""``run --on ENGINE``: the options that say on which machines a sweep is measured, and the run on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attnbench import inert
from attnbench.cli import invocation
from attnbench.errors import EngineError, UsageError
from attnbench.wording import number_of

if TYPE_CHECKING:
    from attnbench.engines.driving import Workforce
    from attnbench.engines.engine import Engine
    from attnbench.engines.site import SiteProfile
    from attnbench.fleet.kinds import HardwareKind
    from attnbench.fleet.planned import PlannedGroup, SweepPlan
    from attnbench.plan.request import Request
    from attnbench.runs.job import Settings

_OPTIONS = (
    click.option("--on", metavar="ENGINE", help="Have workers started by local, slurm or ray. [measure in here]"),
    click.option(
        "--machines",
        type=click.IntRange(1, 1000),
        help="With --on, workers at once of each kind. [the profile's, or 1]",
    ),
    click.option("--dry-run", is_flag=True, help="With --on, show what would be submitted, and start nothing."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """How a sweep is to be measured on other machines."""

    on: str
    machines: int | None
    dry_run: bool

    @classmethod
    def taken_from(cls, given: dict[str, Any], **with_others: bool) -> Elsewhere | None:
        """Take these options out of those that were given; None if a sweep is to be measured in here.

        Args:
            given: options by their names.
            **with_others: options that mean nothing beside these, and whether they were given.

        Raises:
            UsageError: one would do nothing.
        """
        on, machines, dry_run = (given.pop(name) for name in ("on", "machines", "dry_run"))
        elsewhere = on is not None
        idle = with_others if elsewhere else {"machines": machines, "dry-run": dry_run}
        mistakes = [
            f"--{name} does nothing with{'' if elsewhere else 'out'} --on" for name, value in idle.items() if value
        ]
        if mistakes:
            raise UsageError(*mistakes)
        return cls(on=on, machines=machines, dry_run=dry_run) if elsewhere else None


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of ``Elsewhere``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run(
    request: Request,
    settings: Settings,
    wanted: Sequence[HardwareKind],
    *,
    asked: Elsewhere,
    site: SiteProfile,
    out: Path | None,
    idle: float | None,
    strict: bool,
) -> None:
    """Plan a sweep, have an engine start workers until it is done, and report.

    Raises:
        UsageError: anything asked for cannot be used; nothing was started then.
        EngineError: the engine is not there, or cells are left that it takes no workers for.
        StoreError: the folder cannot be read or written.
    """
    from attnbench import engines  # noqa: PLC0415
    from attnbench.engines import driving  # noqa: PLC0415
    from attnbench.fleet import planned, planning  # noqa: PLC0415
    from attnbench.runs import session  # noqa: PLC0415 - rich

    kind_of_engine = engines.of(asked.on)
    if missing := kind_of_engine.why_missing():
        raise UsageError(f"--on {asked.on}: {missing}")
    folder = (out or session.folder_of(request)).absolute()
    made = planning.plan(request, settings, wanted, command=invocation.command_line())
    engine = kind_of_engine(folder, site.options(kind_of_engine))

    def forces(groups: Iterable[PlannedGroup]) -> list[Workforce]:
        words = () if idle is None else ("--require-idle", f"{idle:g}")
        return driving.workforces(groups, engine=engine, site=site, machines=asked.machines, words=words)

    if asked.dry_run:
        _show(made, engine, forces(made.groups))
        return
    engine.open()
    try:
        planning.keep(folder, made)
        everything = forces(group for _, group in planned.united(planned.read(folder)).values())
        _say(f"{made.cells} cells in {len(made.groups)} groups; attnbench status {folder} says how far it is")
        outcome = driving.Drive(folder=folder, engine=engine, forces=everything, say=_say).run()
    except KeyboardInterrupt:
        _say(f"interrupted; {engine.farewell}")
        sys.exit(invocation.INTERRUPTED)
    finally:
        engine.close()
    _report(folder)
    if outcome.refused:
        left = f"{outcome.cells - outcome.done} of {outcome.cells} cells are left; the same command goes on"
        raise EngineError("\n".join([*outcome.refused, left]))
    if strict and _failed(folder):
        sys.exit(invocation.STRICT_FAILED)


def _report(folder: Path) -> None:
    from attnbench.runs import reporting  # noqa: PLC0415 - pandas
    from attnbench.store import parts  # noqa: PLC0415

    if parts.of(folder):
        reporting.make_report([folder], out=folder, console=invocation.console(), command=invocation.command_line())


def _failed(folder: Path) -> bool:
    from attnbench import store  # noqa: PLC0415
    from attnbench.record import Status  # noqa: PLC0415

    return any(record.status is not Status.OK for record in store.read(folder))


def _show(made: SweepPlan, engine: Engine, forces: list[Workforce]) -> None:
    sizes = f"{number_of(made.cells, 'cell')} in {number_of(len(made.groups), 'group')}"
    _say(f"{sizes}; nothing is submitted, nothing written")
    for force in forces:
        kind, several = force.order.kind or "any machine", number_of(force.machines, "worker")
        _say(f"\n{kind}: {several}, about {force.order.seconds / 3600:.2g} hours each at most")
        click.echo(inert.shown(engine.shown(force.order, force.machines)))


def _say(line: str) -> None:
    click.echo(inert.line(line) if line.strip() == line else f"\n{inert.line(line.strip())}")
