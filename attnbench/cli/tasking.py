"""The command that has mechanisms learn what tells them apart: ``tasks``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from attnbench.cli import invocation
from attnbench.cli.parameters import commas_option


@click.command(short_help="Have mechanisms learn tasks that tell them apart.")
@click.argument("names", nargs=-1, metavar="[TASK]...")
@commas_option("--mechanisms", help="Names, name:option=value, FILE.py:Class, or ours=any of them. [all installed]")
@click.option("--seeds", type=int, help="Trainings per mechanism. [3]")
@click.option("--epochs", type=int, help="Of 50 batches. [the task's own]")
@click.option("--device", help="cpu, cuda:1, xpu, mps, whatever torch knows. [the first accelerator, else cpu]")
@click.option(
    "--threads", type=int, default=1, show_default=True, help="CPU threads of each of those that learn at once."
)
@click.option("--timeout", type=float, help="Seconds in which something must be heard of a training. [300]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, a run a task. [results/tasks]")
@click.option("--fresh", is_flag=True, help="Put what the folder holds aside and start over.")
@click.option("--retry", is_flag=True, help="Train again those that did not end ok.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page.")
def tasks(
    names: tuple[str, ...],
    out: Path | None,
    fresh: bool,
    retry: bool,
    markdown: Path | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Have mechanisms learn tasks that are generated from a seed, and say who holds how far, and why no farther.

    A TASK is shift, recall, recall-pairs or same-different, or with other values of its axis shift:offset=3,6; without
    any, all are learned. Running the same command again goes on where it was left, within a mechanism too.
    """
    from attnbench.child import start_server  # noqa: PLC0415
    from attnbench.plugins.registry import discover  # noqa: PLC0415
    from attnbench.runs import tasks as learning  # noqa: PLC0415 - rich

    start_server()
    mechanisms = given.pop("mechanisms")
    everyone = tuple(discover().plugins) if mechanisms is None else mechanisms
    interrupted = learning.run(
        {**given, "mechanisms": everyone, "threads": (str(given["threads"]),)},
        tasks=names,
        out=out,
        fresh=fresh,
        retry=retry,
        markdown=markdown,
        console=invocation.console(),
        command=invocation.command_line(),
    )
    if interrupted:
        sys.exit(invocation.INTERRUPTED)
