"""Commands that work on kept runs: ``report``, ``compare`` and ``verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from attnbench import inert
from attnbench.cli import invocation
from attnbench.cli.parameters import axis_options, commas_option, mechanism_names
from attnbench.errors import UsageError


@click.command(short_help="Make tables and plots of runs again.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write. [the run's, if one]")
@click.option("--latex", is_flag=True, help="Also write the tables for a paper: tables.tex, with booktabs and siunitx.")
@click.option("--figure", metavar="NAME", help="Make one figure for a paper instead: latency, memory, macs, energy.")
@click.option("--style", metavar="NAME", help="With --figure: paper or talk. [paper]")
@click.option("--width", metavar="LENGTH", help="With --figure: 3.25in or 8cm, of the whole figure. [3.25in]")
@commas_option("--only", help="With --figure: mechanisms or labels, in the order of the legend. [all]")
@click.option("--label", "labels", multiple=True, metavar="NAME=TEXT", help="With --figure: what the paper calls it.")
def report(
    folders: tuple[Path, ...],
    out: Path | None,
    latex: bool,
    figure: str | None,
    labels: tuple[str, ...],
    **asked: Any,  # noqa: ANN401
) -> None:
    """Make tables and plots of one or more runs, from any machines.

    FOLDERS are runs, or files that pytest-benchmark wrote with --benchmark-json. With --figure, one figure for a paper
    goes into the folder figures, as PDF, SVG and, where there is LaTeX, PGF.
    """
    from attnbench.runs import reporting  # noqa: PLC0415

    where = out or (folders[0] if folders[0].is_dir() else folders[0].with_suffix(""))
    idle = [name for name, value in (*asked.items(), ("label", labels)) if value and figure is None]
    if idle:
        raise UsageError(*(f"--{name} does nothing without --figure" for name in idle))
    if figure is not None:
        wanted = {"name": figure, **{name: value for name, value in asked.items() if value}, "labels": labels}
        reporting.make_figure(folders, wanted, out=where / "figures", console=invocation.console())
        return
    reporting.make_report(
        folders, out=where, console=invocation.console(), command=invocation.command_line(), as_latex=latex
    )


@click.command(short_help="Make one folder of several runs.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to make.")
def merge(folders: tuple[Path, ...], out: Path) -> None:
    """Make one folder of the FOLDERS of runs, from any machines; they stay as they are.

    All rows, samples and limits are kept, told apart by where they came from. Of a cell that was measured several times
    in one environment one row counts: one that ended ok before one that did not, else that of the first folder by name.
    """
    from attnbench.store import merging  # noqa: PLC0415

    found = merging.merge(folders, out)
    again = f"; {found.repeated} more of the same cells there are kept and do not count" if found.repeated else ""
    click.echo(inert.line(f"{found.rows} rows of {found.environments} environments are in {out}{again}"))
    for path in found.left_out:
        click.echo(inert.line(f"left out, since it is no file: {path}"))
    click.echo(inert.line(f"attnbench report {out} shows them"))


@click.command(short_help="Judge two runs: FASTER, SLOWER, SAME, UNDECIDED.")
@click.argument("base", required=False, type=click.Path(path_type=Path))
@click.argument("head", required=False, type=click.Path(path_type=Path))
@click.option("--threshold", type=float, default=0.05, show_default=True, help="Change of latency that matters.")
@click.option("--force", is_flag=True, help="Compare latency although the environments differ.")
@click.option("--fail-undecided", is_flag=True, help="Exit with status 1 for what is undecided, too.")
@click.option("--rerun", metavar="REF", help="Measure a git revision and the working tree, interleaved, in one run.")
@commas_option("--mechanisms", names=mechanism_names, help="With --rerun: what to measure. [all installed]")
@commas_option("--backend", help="With --rerun: implementations of a mechanism. [each's default]")
@axis_options("With --rerun: ")
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
        request, settings = read_request(None, axes | {"baseline": "none"}, threads=invocation.default_threads())
        start_server()
        found = session.rerun(rerun, request, settings, threshold=threshold, out=out, console=invocation.console())
    elif base and head:
        found = compare_runs(base, head, threshold=threshold, force=force)
    else:
        raise UsageError("compare needs two results folders, BASE and HEAD, or --rerun REF")
    reporting.show_verdicts(found, invocation.console(), markdown)
    if found.regressions or (fail_undecided and found.undecided):
        sys.exit(invocation.GATE_FAILED)


@click.command(short_help="Hold kept runs against the rules of an accepted result.")
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
    from attnbench.store import parts  # noqa: PLC0415
    from attnbench.verify import verify as hold  # noqa: PLC0415 - numpy and pandas

    holds = True
    for each in [part for folder in folders for part in parts.of(folder) or [folder]]:
        found = hold(each, counts=not no_counts, again=again or 0)
        for line in (*found.findings, *found.unchecked, found.summary):
            click.echo(inert.line(line))
        holds = holds and found.holds
    if not holds:
        sys.exit(invocation.GATE_FAILED)
