"""The command line. The only module that prints or exits; importing it imports neither torch nor pandas.

Exit status: 0 done; 1 a gate failed; 2 wrong usage, or what cannot be read or written; 3 ``--strict`` and a cell did
not end ok; 130 interrupted.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attnbench import __version__, files, inert
from attnbench.axes import COLD, WARM
from attnbench.cli import outlet
from attnbench.cli.parameters import COMMAS, SIZE, axis_options
from attnbench.errors import AttnbenchError, ProcessError, StoreError, UsageError

if TYPE_CHECKING:
    from rich.console import Console


GATE_FAILED = 1
UNUSABLE = 2
STRICT_FAILED = 3
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="attnbench")
def attnbench() -> None:
    """Measure attention mechanisms side by side: MACs, memory, latency, accuracy."""


@attnbench.command("list", short_help="Show mechanisms and networks.")
@click.argument("names", nargs=-1)
def list_(names: tuple[str, ...]) -> None:
    """Show the mechanisms and networks that are installed: paper, options, where each comes from.

    With NAMES, those alone, and what each option admits.
    """
    from attnbench.cli import listing  # noqa: PLC0415 - only this command needs rich

    console = _console()
    tables = listing.named_tables(names) if names else (listing.mechanisms_table(), listing.networks_table())
    for place, table in enumerate(list(tables)):
        if place:
            console.print()
        console.print(table)


@attnbench.command(short_help="Show the machine and the software.")
def env() -> None:
    """Show the machine and the software, for a bug report."""
    from attnbench import devices  # noqa: PLC0415
    from attnbench.cli.listing import pairs_table  # noqa: PLC0415
    from attnbench.devices import energy, environment, names  # noqa: PLC0415 - torch
    from attnbench.report.environments import describe  # noqa: PLC0415

    device = names.preferred(devices.present())
    taken = environment.take(threads=_default_threads(), device=device)
    _console().print(
        pairs_table([*describe(taken.to_dict()), ("energy counter", energy.counter_of(devices.of(device)))])
    )


@attnbench.command(short_help="Measure a sweep into tables, plots and a report.")
@click.argument("sweep_file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--mechanisms", type=COMMAS, help="Names, name:option=value, FILE.py:Class, or ours=any of them. [all installed]"
)
@click.option("--networks", type=COMMAS, help="Published networks: of plugins, and every model of timm.")
@axis_options()
@click.option("--backend", type=COMMAS, help="Implementations of a mechanism, such as sdpa,unfused. [each's default]")
@click.option("--until", help="Stop each cell after counts, memory or latency. [latency]")
@click.option("--baseline", help="Mechanism that ratios refer to, or none. [mhsa]")
@click.option("--accuracy", metavar="DATASET", help="Also train on digits, folder:PATH, torch/cifar10, hfds/...")
@click.option(
    "--checkpoint",
    type=COMMAS,
    metavar="NETWORK=FILE,...",
    help="Weights to evaluate networks with: --accuracy folder:PATH.",
)
@click.option("--seeds", type=int, help="Trainings per mechanism. [3]")
@click.option("--epochs", type=int, help="Passes over the data. [the data set's own]")
@click.option("--precision", type=float, help="Half-width of the ratio's 95 % interval to reach. [0.01]")
@click.option("--max-time", type=float, help="Seconds of timed calls per cell; six rounds are made in any case. [10]")
@click.option(
    "--energy", is_flag=True, default=None, help="Also measure joules per image of what is timed, 5 s a cell."
)
@click.option("--timeout", type=float, help="Seconds for one phase of one cell. [300]")
@click.option("--memory-limit", type=SIZE, help="Refuse cells estimated to take more. [what the device has free]")
@click.option("--isolation", help="How a group's process starts: fork, or spawn, which takes seconds more. [fork]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run. [results/<sweep>]")
@click.option("--fresh", is_flag=True, help="Put what the folder holds aside and start over.")
@click.option("--retry", is_flag=True, help="Run again the cells that did not end ok.")
@click.option("--strict", is_flag=True, help="Exit with status 3 if a cell does not end ok.")
def run(sweep_file: Path | None, out: Path | None, fresh: bool, retry: bool, strict: bool, **given: Any) -> None:  # noqa: ANN401
    """Measure a sweep: every combination of the axes, into a table here and a folder of results.

    Axes are comma lists. They can stand in SWEEP_FILE, a TOML file with the same names; what is given here goes first.
    Running the same command again does only what has no row yet.
    """
    from attnbench.child import start_server  # noqa: PLC0415
    from attnbench.plan.given import read_request  # noqa: PLC0415
    from attnbench.runs.job import FORK  # noqa: PLC0415

    request, settings = read_request(sweep_file, given, threads=_default_threads())
    if settings.isolation == FORK:
        start_server()
    from attnbench.runs import session  # noqa: PLC0415 - rich and pandas

    outcome = session.run(
        request, settings=settings, out=out, fresh=fresh, retry=retry, console=_console(), command=_command_line()
    )
    if outcome.interrupted:
        sys.exit(INTERRUPTED)
    if strict and outcome.failed:
        sys.exit(STRICT_FAILED)


@attnbench.command(short_help="Make tables and plots of runs again.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write. [the run's, if one]")
def report(folders: tuple[Path, ...], out: Path | None) -> None:
    """Make tables and plots of one or more runs, from any machines.

    FOLDERS are runs, or files that pytest-benchmark wrote with --benchmark-json.
    """
    from attnbench.runs import reporting  # noqa: PLC0415

    where = out or (folders[0] if folders[0].is_dir() else folders[0].with_suffix(""))
    reporting.make_report(folders, out=where, console=_console(), command=_command_line())


@attnbench.command(short_help="Judge two runs: FASTER, SLOWER, SAME, UNDECIDED.")
@click.argument("base", required=False, type=click.Path(path_type=Path))
@click.argument("head", required=False, type=click.Path(path_type=Path))
@click.option("--threshold", type=float, default=0.05, show_default=True, help="Change of latency that matters.")
@click.option("--force", is_flag=True, help="Compare latency although the environments differ.")
@click.option("--fail-undecided", is_flag=True, help="Exit with status 1 for what is undecided, too.")
@click.option("--rerun", metavar="REF", help="Measure a git revision and the working tree, interleaved, in one run.")
@click.option("--mechanisms", type=COMMAS, help="With --rerun: what to measure. [all installed]")
@click.option("--backend", type=COMMAS, help="With --rerun: implementations of a mechanism. [each's default]")
@axis_options("With --rerun: ", but={"task"})  # heads are put on networks, which are no mechanisms of a revision
@click.option("--precision", type=float, help="With --rerun: half-width of the ratio's 95 % interval to reach. [0.01]")
@click.option("--max-time", type=float, help="With --rerun: seconds of timed calls per cell. [10]")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="With --rerun: folder for logs and samples."
)
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write the verdicts for a pull request."
)
def compare(  # noqa: PLR0917 - click passes options by name
    base: Path | None,
    head: Path | None,
    threshold: float,
    force: bool,
    fail_undecided: bool,
    rerun: str | None,
    out: Path | None,
    markdown: Path | None,
    **axes: Any,  # noqa: ANN401
) -> None:
    """Say of two runs, cell by cell, whether HEAD is FASTER, SLOWER or the SAME as BASE, or whether that is UNDECIDED.

    Exit status 1 if anything got worse. With --rerun the verdict says how small a slowdown it would have found.
    """
    from attnbench.child import start_server  # noqa: PLC0415
    from attnbench.compare.runs import compare as compare_runs  # noqa: PLC0415
    from attnbench.plan.given import read_request  # noqa: PLC0415
    from attnbench.runs import reporting, session  # noqa: PLC0415 - numpy

    if rerun and base:
        raise UsageError("--rerun REF compares REF with the working tree; leave BASE and HEAD out")
    idle = [] if rerun else [name for name, value in (*axes.items(), ("out", out)) if value is not None]
    if idle:
        raise UsageError(*(f"--{name.replace('_', '-')} does nothing without --rerun" for name in idle))
    if rerun:
        request, settings = read_request(None, axes | {"baseline": "none"}, threads=_default_threads())
        start_server()
        found = session.rerun(rerun, request, settings, threshold=threshold, out=out, console=_console())
    elif base and head:
        found = compare_runs(base, head, threshold=threshold, force=force)
    else:
        raise UsageError("compare needs two results folders, BASE and HEAD, or --rerun REF")
    reporting.show_verdicts(found, _console(), markdown)
    if found.regressions or (fail_undecided and found.undecided):
        sys.exit(GATE_FAILED)


@attnbench.command(short_help="Time known ratios: can figures from here be trusted?")
@click.option("--repeats", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Trials of each ratio.")
@click.option("--load", is_flag=True, help="Keep one core busy with another process meanwhile.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1.")
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
    from attnbench.cli.progress import counted  # noqa: PLC0415
    from attnbench.report.page.screen import screen  # noqa: PLC0415 - rich
    from attnbench.report.selfcheck import page  # noqa: PLC0415
    from attnbench.selfcheck import engine, kept  # noqa: PLC0415 - torch

    console, threads = _console(), threads or _default_threads()
    place = engine.here(how["device"], threads)
    if keep:
        kept.refuse_elsewhere(place, keep)
    with counted(console, "self-check", total=2 * how["repeats"]) as advance:
        found = engine.run(**how, threads=threads, on_trial=lambda _: advance())
    console.print(screen(page(found)))
    if json_file:
        _write(json_file, json.dumps(found.to_dict(), indent=1))
    if keep:
        kept.keep(keep, kept.made(found, hardware=place.hardware, command=_command_line()))
        click.echo(inert.line(f"kept in {keep / kept.SELFCHECK}; attnbench report {keep} puts it on the page"))
    if not found.passed:
        sys.exit(GATE_FAILED)


@attnbench.command(short_help="Hold kept runs against the rules of an accepted result.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--again", type=click.IntRange(min=1, max=10**6), metavar="K", help="Also measure K cells, chosen at random, again."
)
@click.option("--no-counts", is_flag=True, help="Leave out what has to be counted again: seconds to minutes.")
def verify(folders: tuple[Path, ...], again: int | None, no_counts: bool) -> None:
    """Work out again what the FOLDERS of runs say, from their samples and records, and say what does not hold.

    A line for each finding: file, row, figure, what is kept and what was worked out. Exit status 1 if there is one.
    What an accepted result is stands in docs/rules.md.
    """
    from attnbench.verify import verify as hold  # noqa: PLC0415 - numpy and pandas

    holds = True
    for folder in folders:
        found = hold(folder, counts=not no_counts, again=again or 0)
        for line in (*found.findings, *found.unchecked, found.summary):
            click.echo(inert.line(line))
        holds = holds and found.holds
    if not holds:
        sys.exit(GATE_FAILED)


@attnbench.command(short_help="Measure what papers print, and say what holds.")
@click.option("--mechanisms", type=COMMAS, help="Whose claims. [all installed that have a ledger]")
@click.option("--accuracy", metavar="DATASET", help="Images to evaluate networks on, folder:PATH.")
@click.option("--checkpoint", type=COMMAS, metavar="NETWORK=FILE,...", help="Weights to evaluate networks with.")
@click.option(
    "--until",
    type=click.Choice(["counts", "memory", "latency"]),
    default="latency",
    show_default=True,
    help="Leave out claims that need more.",
)
@click.option("--device", help="cpu, cuda, cuda:1. [cuda if there is one, else cpu]")
@click.option("--threads", type=int, help="CPU threads. [OMP_NUM_THREADS, else all cores but one]")
@click.option("--precision", type=float, help="Half-width of a ratio's 95 % interval to reach. [0.01]")
@click.option("--max-time", type=float, help="Seconds of timed calls per cell; six rounds are made in any case. [10]")
@click.option("--timeout", type=float, help="Seconds for one phase of one cell. [300]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run. [results/claims]")
@click.option("--fresh", is_flag=True, help="Put what the folder holds aside and start over.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page.")
def claims(
    mechanisms: tuple[str, ...] | None,
    out: Path | None,
    fresh: bool,
    markdown: Path | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Measure what papers print as far as this machine can, and say of each figure whether it holds.

    Claims stand in a claims.toml beside a mechanism's code. What was measured before is not measured again.
    """
    from attnbench.claims import audit  # noqa: PLC0415 - numpy

    interrupted = audit.run(
        mechanisms or (),
        given | {"threads": _default_threads() if given["threads"] is None else given["threads"]},
        out=out,
        fresh=fresh,
        markdown=markdown,
        console=_console(),
        command=_command_line(),
    )
    if interrupted:
        sys.exit(INTERRUPTED)


@attnbench.command(short_help="See whether a mechanism keeps the contract.")
@click.argument("mechanism")
@click.option("--checks", type=COMMAS, help="Only these. [all]")
def check(mechanism: str, checks: tuple[str, ...] | None) -> None:
    """See whether MECHANISM keeps the contract: a name, name:option=value, or FILE.py:Class.

    Exit status 1 if a check fails.
    """
    from attnbench import testing  # noqa: PLC0415 - torch
    from attnbench.conformance.table import findings_table  # noqa: PLC0415

    with redirect_stdout(io.StringIO()) as printed:
        found = testing.check(mechanism, checks=checks or tuple(testing.CHECKS))
    _console().print(findings_table(found))
    if lines := printed.getvalue().count("\n"):
        click.echo(f"{mechanism} printed {lines} lines meanwhile, left out here")
    if not found.passed:
        click.echo(inert.shown(found))
        sys.exit(GATE_FAILED)


@attnbench.command(short_help="Write a package with a new mechanism, to start from.")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write. [./NAME]")
def new(name: str, out: Path | None) -> None:
    """Write a small package with a mechanism called NAME: the layer, its closed form, its tests, its pyproject.toml."""
    from attnbench.plugins import scaffold  # noqa: PLC0415

    for path in scaffold.create(name, out):
        click.echo(path)


def main() -> None:
    """Run the command line; every error that attnbench raises on purpose becomes a line and a status.

    What cannot be shown costs nothing but a line. A reader that has left is no failure: it has seen what it wanted.
    """
    screen, status = outlet.guard(), 0
    try:
        _main()
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    failure = outlet.lost(screen)
    left = isinstance(failure, BrokenPipeError)
    if failure and not (left and sys.argv[1:2] not in (["run"], ["claims"])):
        told = f"standard output: {failure.strerror}; what was measured and written is on disk"
        click.echo(f"attnbench: {'warning: ' if left else ''}{told}", err=True)
    if failure and not left:
        status = status or UNUSABLE
    if status:
        sys.exit(status)


def _main() -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _interrupt)
    warnings.showwarning = _show_warning
    try:
        attnbench(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(inert.shown(shown.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except UsageError as error:
        _complain(error.mistakes)
    except AttnbenchError as error:
        _complain((str(error),))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except RuntimeError as error:
        if str(error) != "can't start new thread":
            raise
        _complain((str(ProcessError("the system allows no thread more")),))
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _complain((f"{where}{files.reason_of(error)}",))


def _write(path: Path, text: str) -> None:
    try:
        files.put(path, text)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {files.reason_of(error)}; give another file") from None


def _complain(mistakes: tuple[str, ...]) -> None:
    for mistake in mistakes:
        click.echo(f"attnbench: {inert.shown(mistake)}", err=True)
    sys.exit(UNUSABLE)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"attnbench: warning: {inert.shown(message)}", err=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _console() -> Console:
    from attnbench.report.console import console  # noqa: PLC0415 - rich: half of what --help takes

    return console()


def _default_threads() -> int:
    from attnbench.plan.given import default_threads  # noqa: PLC0415

    return default_threads()


def _command_line() -> str:
    import shlex  # noqa: PLC0415

    return shlex.join(["attnbench", *sys.argv[1:]])


if __name__ == "__main__":
    main()
