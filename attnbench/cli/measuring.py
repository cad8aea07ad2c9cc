"""Commands that measure: ``run``, ``claims`` and ``selfcheck``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from attnbench import files, inert
from attnbench.axes import COLD, WARM
from attnbench.cli import engines, explaining, invocation
from attnbench.cli.asking import hardware_option, require_idle_option, site_option, sweep_options
from attnbench.cli.parameters import commas_option, mechanism_names
from attnbench.errors import StoreError, UsageError


@click.command(short_help="Measure a sweep into tables, plots and a report.")
@sweep_options
@hardware_option
@site_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run. [results/<sweep>]")
@click.option("--fresh", is_flag=True, help="Put what the folder holds aside and start over.")
@click.option("--retry", is_flag=True, help="Run again the cells that did not end ok.")
@require_idle_option
@click.option("--strict", is_flag=True, help="Exit with status 3 if a cell does not end ok.")
@click.option("--explain", is_flag=True, help="Afterwards profile the first comparison, as attnbench explain does.")
@engines.engine_options
def run(  # noqa: PLR0917 - click passes options by name
    sweep_file: Path | None,
    hardware: tuple[str, ...] | None,
    site: Path | None,
    out: Path | None,
    fresh: bool,
    retry: bool,
    require_idle: float | None,
    strict: bool,
    explain: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Measure a sweep: every combination of the axes, into a table here and a folder of results.

    Axes are comma lists. They can stand in SWEEP_FILE, a TOML file with the same names; what is given here goes first.
    What is usual in a project can stand in its attnbench.toml, or under [tool.attnbench] in its pyproject.toml.
    Running the same command again does only what has no row yet. With --hardware, or in a folder that is planned for
    many machines, it plans, works as one of the workers of the folder, and reports what all have measured by then.
    With --on it has an engine start workers on other machines, until all is measured.

    \b
    attnbench run --mechanisms hmhsa,qna --res 224,512
    attnbench run --mechanisms ./mine.py:MyAttention,hmhsa --scope layer --res 224
    attnbench run --mode infer,train --dtype float32,bfloat16 --compile off,on
    attnbench run --networks hat_net_small,deit_small_patch16_224 --until counts
    attnbench run --mechanisms hmhsa,qna --on slurm --hardware h100,epyc --site site.toml
    """  # noqa: D301 - click wants the character
    from attnbench.child import start_server  # noqa: PLC0415

    if given.get("isolation") != "spawn":  # it loads while what is asked for is read
        start_server()
    from attnbench.engines import site as sites  # noqa: PLC0415
    from attnbench.fleet import kinds  # noqa: PLC0415
    from attnbench.plan import project  # noqa: PLC0415
    from attnbench.plan.given import read_request  # noqa: PLC0415

    elsewhere, profile = (
        engines.Elsewhere.taken_from(given, fresh=fresh, retry=retry, explain=explain),
        sites.read(site),
    )
    usual = project.defaults(Path.cwd())
    request, settings = read_request(sweep_file, given, threads=invocation.default_threads(), usual=usual)
    if usual[1]:
        click.echo(inert.line(f"usual here, unless given: {', '.join(usual[1])} ({usual[0]})"))
    wanted = kinds.read(hardware or (), profile.hardware)
    if elsewhere:
        engines.run(request, settings, wanted, asked=elsewhere, site=profile, out=out, idle=require_idle, strict=strict)
        return
    from attnbench.fleet import joined  # noqa: PLC0415 - rich and pandas
    from attnbench.runs import session  # noqa: PLC0415

    shared = joined.folder_for(request, wanted, out)
    how: dict[str, Any] = {
        "settings": settings,
        "fresh": fresh,
        "retry": retry,
        "console": invocation.console(),
        "command": invocation.command_line(),
        "idle_within_s": require_idle,
    }
    outcome = (
        joined.run(request, kinds=wanted, folder=shared, **how) if shared else session.run(request, out=out, **how)
    )
    if outcome.interrupted:
        sys.exit(invocation.INTERRUPTED)
    if explain:
        _explain(shared or out or session.folder_of(request))
    if strict and outcome.failed:
        sys.exit(invocation.STRICT_FAILED)


def _explain(folder: Path) -> None:
    """Profile what a run has measured; that nothing can be is no fault of the run, whose rows stand."""
    try:
        explaining.profile(folder)
    except UsageError as error:
        for mistake in error.mistakes:
            click.echo(inert.line(f"--explain: {mistake}"))


@click.command(short_help="Measure what papers print, and say what holds.")
@commas_option("--mechanisms", names=mechanism_names, help="Whose claims. [all installed that have a ledger]")
@click.option("--accuracy", metavar="DATASET", help="Images to evaluate networks on, folder:PATH.")
@commas_option("--checkpoint", metavar="NETWORK=FILE,...", help="Weights to evaluate networks with.")
@click.option(
    "--until",
    type=click.Choice(["counts", "memory", "latency"]),
    default="latency",
    show_default=True,
    help="Leave out claims that need more.",
)
@click.option("--device", help="cpu, cuda:1, xpu, mps, whatever torch knows. [the first accelerator, else cpu]")
@click.option("--threads", type=int, help="CPU threads. [OMP_NUM_THREADS, else all cores but one]")
@click.option("--precision", type=float, help="Half-width of a ratio's 95 % interval to reach. [0.01]")
@click.option("--max-time", type=float, help="Seconds of timed calls per cell; six rounds are made in any case. [10]")
@click.option("--timeout", type=float, help="Seconds for one phase of one cell. [300]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run. [results/claims]")
@click.option("--fresh", is_flag=True, help="Put what the folder holds aside and start over.")
@click.option("--retry", is_flag=True, help="Measure again what did not end ok.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page.")
def claims(
    mechanisms: tuple[str, ...] | None,
    out: Path | None,
    fresh: bool,
    retry: bool,
    markdown: Path | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Measure what papers print as far as this machine can, and say of each figure whether it holds.

    Claims stand in a claims.toml beside a mechanism's code. What was measured before is not measured again.
    """
    from attnbench.claims import audit  # noqa: PLC0415 - numpy

    interrupted = audit.run(
        mechanisms or (),
        given | {"threads": invocation.default_threads() if given["threads"] is None else given["threads"]},
        out=out,
        fresh=fresh,
        retry=retry,
        markdown=markdown,
        console=invocation.console(),
        command=invocation.command_line(),
    )
    if interrupted:
        sys.exit(invocation.INTERRUPTED)


@click.command(short_help="Time known ratios: can figures from here be trusted?")
@click.option("--repeats", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Trials of each ratio.")
@click.option("--load", is_flag=True, help="Keep one core busy with another process meanwhile.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda:1, xpu, mps, whatever torch knows.")
@click.option("--threads", type=click.IntRange(1, 4_096), help="CPU threads. [OMP_NUM_THREADS, else all cores but one]")
@click.option(
    "--cache",
    type=click.Choice([COLD, WARM]),
    default=COLD,
    show_default=True,
    help="What caches hold before a timed call: cold (other data), warm (its own).",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Keep what is found beside the rows of a run that was made on this machine.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write every trial here too."
)
def selfcheck(threads: int | None, keep: Path | None, json_file: Path | None, **how: Any) -> None:  # noqa: ANN401
    """Time a layer against a copy of itself, and against two in a row.

    Does this machine give the known ratios, 1 and 2? Beside the interleaved rounds stand the same ratios timed one
    after the other and by torch.utils.benchmark. Exit status 1 if a bar is missed.
    """
    from attnbench.report.page.screen import show  # noqa: PLC0415 - rich
    from attnbench.report.selfcheck import page  # noqa: PLC0415
    from attnbench.runs.screen import counted  # noqa: PLC0415
    from attnbench.selfcheck import engine, kept  # noqa: PLC0415 - torch

    console, threads = invocation.console(), threads or invocation.default_threads()
    place = engine.here(how["device"], threads)
    if keep:
        kept.refuse_elsewhere(place, keep)
    with counted(console, "self-check", total=2 * how["repeats"]) as advance:
        found = engine.run(**how, threads=threads, on_trial=lambda _: advance())
    show(page(found), console)
    if json_file:
        _write(json_file, json.dumps(found.to_dict(), indent=1))
    if keep:
        kept.keep(keep, kept.made(found, hardware=place.hardware, command=invocation.command_line()))
        click.echo(inert.line(f"kept in {keep / kept.SELFCHECK}; attnbench report {keep} puts it on the page"))
    if not found.passed:
        sys.exit(invocation.GATE_FAILED)


def _write(path: Path, text: str) -> None:
    try:
        files.put(path, text)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {files.reason_of(error)}; give another file") from None
