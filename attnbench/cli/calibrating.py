"""The command that says whether the proxies rank networks as ImageNet does: ``calibrate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from attnbench import inert
from attnbench.cli import invocation
from attnbench.cli.parameters import commas_option


@click.command(short_help="Say whether the proxies rank networks as ImageNet does.")
@click.argument("proxies", nargs=-1, metavar="[PROXY]...")
@commas_option("--networks", help="Of those with a published accuracy. [all of them]")
@click.option("--seeds", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Trainings of each.")
@click.option("--steps", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Of each training.")
@click.option("--threads", type=click.IntRange(1, 4_096), help="CPU threads. [OMP_NUM_THREADS, else all cores but one]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results/calibration"),
    show_default=True,
    help="Folder for the scores, kept as they come.",
)
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page.")
def calibrate(
    proxies: tuple[str, ...],
    threads: int | None,
    out: Path,
    markdown: Path | None,
    **given: Any,  # noqa: ANN401 - options of every kind
) -> None:
    """Train networks whose ImageNet accuracy is published, made narrow, on each proxy, and say how it ranks them.

    A PROXY is what --accuracy takes of digits, fashion-mnist, shift:offset=4 and recall; without any, these four. Rank
    correlations have an interval by bootstrap; a proxy that does not rank the networks is said not to. Running the same
    command again goes on where it was left. Exit status 1 where a training failed.
    """
    from attnbench.calibration import asking, surroundings, words  # noqa: PLC0415 - torch
    from attnbench.report.page.markdown import put  # noqa: PLC0415
    from attnbench.report.page.screen import screen  # noqa: PLC0415 - rich
    from attnbench.runs.screen import counted  # noqa: PLC0415

    named = {name: each for name, each in {**given, "proxies": proxies}.items() if each}
    asked = asking.CalibrationRequest(**named)
    asking.set_up(threads or invocation.default_threads())
    console = invocation.console()
    with counted(console, "trainings", total=asking.total(asked)) as step:
        found = asking.calibrate(asked, folder=out, step=step)
    ranked = words.proxies(found.scores)
    console.print(screen(words.brief(ranked, found.failures)))
    if markdown is not None:
        page = words.page(
            ranked,
            found.failures,
            command=invocation.command_line(),
            machine=surroundings.lines(),
            trained=asking.budget(asked),
        )
        put(page, markdown)
        click.echo(inert.line(markdown))
    if found.failures:
        sys.exit(invocation.GATE_FAILED)
