"""Commands for one sweep over many machines: ``plan``, ``work`` and ``status``."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attnbench import inert
from attnbench.cli import invocation
from attnbench.cli.asking import hardware_option, require_idle_option, site_option, sweep_options
from attnbench.wording import number_of

if TYPE_CHECKING:
    from attnbench.fleet.planned import SweepPlan
    from attnbench.fleet.status import FleetStatus, WorkerStatus

_FOLDER = click.Path(path_type=Path, file_okay=False)
_MOST_REASONS = 10


@click.command(short_help="Write a sweep down for many machines.")
@sweep_options
@hardware_option
@site_option
@click.option("--out", type=_FOLDER, required=True, help="Folder of the run, which all machines see.")
def plan(
    sweep_file: Path | None,
    out: Path,
    hardware: tuple[str, ...] | None,
    site: Path | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Write a sweep into a folder as groups of cells, with what each needs; attnbench work measures them.

    The same options as run. Planning more into a folder adds to it. What has its row is not measured again.

    \b
    attnbench plan --mechanisms hmhsa,qna --res 224,512 --out /shared/run
    attnbench work /shared/run      # on each machine, as many as there are
    attnbench status /shared/run
    attnbench report /shared/run
    """  # noqa: D301 - click wants the character
    from attnbench.child import start_server  # noqa: PLC0415
    from attnbench.engines import site as sites  # noqa: PLC0415
    from attnbench.fleet import kinds, planning  # noqa: PLC0415
    from attnbench.plan import project  # noqa: PLC0415
    from attnbench.plan.given import read_request  # noqa: PLC0415
    from attnbench.runs.job import FORK  # noqa: PLC0415

    usual = project.defaults(Path.cwd())
    request, settings = read_request(sweep_file, given, threads=invocation.default_threads(), usual=usual)
    wanted = kinds.read(hardware or (), sites.read(site).hardware)
    if settings.isolation == FORK:
        start_server()
    made = planning.plan(request, settings, wanted, command=invocation.command_line())
    planning.keep(out, made)
    for line in _said(made):
        click.echo(inert.line(line))
    click.echo(inert.line(f"attnbench work {out} measures it, on any machine that sees the folder"))


@click.command(short_help="Measure what is planned, until nothing is left.")
@click.argument("folder", type=_FOLDER)
@click.option("--kind", default="", help="Of hardware that this machine is. [by what its hardware calls itself]")
@click.option("--retry", is_flag=True, help="Measure again the cells that did not end ok.")
@require_idle_option
@click.option("--wait", is_flag=True, help="Stay while others are at work, and take over what they may leave.")
@click.option(
    "--silent",
    type=click.FloatRange(min=1, max=86_400),
    default=120.0,
    show_default=True,
    help="Seconds after which a worker that is not heard of has lost its group.",
)
def work(folder: Path, kind: str, require_idle: float | None, silent: float, **how: Any) -> None:  # noqa: ANN401
    """Take groups from the FOLDER until none is left that this machine can do.

    Any number of workers on any machines may do so at once, and may be started and killed at any time.
    """
    from attnbench.child import start_server  # noqa: PLC0415
    from attnbench.devices.idle import IdleWait  # noqa: PLC0415
    from attnbench.fleet.means import MachineMeans  # noqa: PLC0415
    from attnbench.fleet.work import FleetWork  # noqa: PLC0415
    from attnbench.plan import preflight  # noqa: PLC0415

    start_server()
    means = MachineMeans.here(preflight.take(()).devices, kind=kind)

    def say(line: str) -> None:
        click.echo(inert.line(line))

    idle = None if require_idle is None else IdleWait(within_s=require_idle, say=say)
    ended = FleetWork(folder=folder, means=means, idle=idle, silent_s=silent, say=say, **how).run()
    rows, groups = number_of(ended.rows, "row"), number_of(ended.groups, "group")
    say(f"{rows} of {groups} in {folder / 'workers' / ended.name}")
    for words in ended.words:
        say(words)
    if ended.busy:
        sys.exit(invocation.GATE_FAILED)
    if ended.interrupted:
        click.echo("interrupted; a worker anywhere goes on")
        sys.exit(invocation.INTERRUPTED)


@click.command(short_help="How far many machines are.")
@click.argument("folder", type=_FOLDER)
@click.option("--watch", is_flag=True, help="Keep it on the screen, anew every ten seconds, until all is done.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(folder: Path, watch: bool, as_json: bool) -> None:
    """Say what of a planned FOLDER is done, at work and waiting, what failed and why, and who was last heard of."""
    from attnbench.fleet import status as statuses  # noqa: PLC0415

    while True:
        found = statuses.take(folder)
        if watch and not as_json:
            click.clear()  # does nothing where nobody looks
        if as_json:
            click.echo(json.dumps({**asdict(found), "done": found.done}))
        else:
            for line in _told(found):
                click.echo(inert.line(line))
        if not watch or found.done:
            return
        time.sleep(10)


def _said(made: SweepPlan) -> list[str]:
    lines = [f"{number_of(made.cells, 'cell')} in {number_of(len(made.groups), 'group')}"]
    for kind in dict.fromkeys(group.needs.kind for group in made.groups):
        groups = [group for group in made.groups if group.needs.kind == kind]
        hours = sum(group.needs.seconds for group in groups) / 3600
        cells = sum(len(group.cells) for group in groups)
        devices = ", ".join(dict.fromkeys(group.needs.device for group in groups))
        gib = max(group.needs.memory_bytes for group in groups) / 2**30
        needs = f"{devices}, about {gib:.1f} GiB, about {hours:.2g} hours on one machine"
        lines.append(f"{kind or 'any machine'}: {number_of(cells, 'cell')}, {number_of(len(groups), 'group')}; {needs}")
    return lines


def _told(found: FleetStatus) -> list[str]:
    lines = []
    for kind in found.kinds:
        waiting = kind.groups - kind.groups_done - kind.groups_taken
        hours = kind.seconds_left / 3600
        at_work = f"{number_of(kind.groups_taken, 'group')} taken, {waiting} waiting"
        left = f"; about {hours:.2g} hours of one machine left" if kind.done < kind.cells else ""
        if left and len(found.kinds) == 1 and found.at_work > 1:
            left += f", {hours / found.at_work:.2g} with the {found.at_work} workers"
        lines.append(f"{kind.kind or 'any machine'}: {kind.done} of {kind.cells} cells done; {at_work}{left}")
    reasons = list(found.failed.items())
    lines += [f"not ok, {number_of(count, 'cell')}: {reason}" for reason, count in reasons[:_MOST_REASONS]]
    lines += [f"and {len(reasons) - _MOST_REASONS} reasons more"] if len(reasons) > _MOST_REASONS else []
    lines += [
        f"{each.name}: {_doing(each)}; last heard of at {each.last_heard_at} by its own clock" for each in found.workers
    ]
    return lines


def _doing(worker: WorkerStatus) -> str:
    """Return what a worker does, or what became of it."""
    if worker.ended:
        return worker.ended
    if worker.lost_to:
        return f"silent, its group taken over by {worker.lost_to}"
    if worker.gone:
        return "gone without a word"
    return f"at work: {worker.at_work_on or worker.group}" if worker.group else "no group"
