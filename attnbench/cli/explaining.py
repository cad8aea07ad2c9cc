"""The command that says why one mechanism takes longer than another: ``explain``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from attnbench import inert
from attnbench.cli import invocation


@click.command(short_help="Say why one mechanism takes longer than another.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the parts, as FILE.png.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def explain(folder: Path, cells: tuple[str, ...], plot: Path | None, as_json: bool) -> None:
    """Profile cells of the run in FOLDER, side by side: which operators or kernels take the time.

    A CELL is a mechanism as tables name it, or how the key of a row begins. Without any, those of the first resolution
    and conditions that ended ok, six at most. Nothing of the run is changed. Exit status 1 where one could not be
    profiled.
    """
    from attnbench.explain import picture  # noqa: PLC0415 - matplotlib

    picture.check_plot(plot)
    if not profile(folder, cells, plot=plot, as_json=as_json):
        sys.exit(invocation.GATE_FAILED)


def profile(folder: Path, cells: tuple[str, ...] = (), *, plot: Path | None = None, as_json: bool = False) -> bool:
    """Profile cells of a run and print what was found; return whether all could be.

    Raises:
        StoreError: the run cannot be read.
        UsageError: it has no such cells, or none that can be profiled.
    """
    from attnbench.explain import data, picture, words  # noqa: PLC0415 - rich
    from attnbench.explain.asking import explain as profiled  # noqa: PLC0415
    from attnbench.explain.choice import choose  # noqa: PLC0415 - pandas
    from attnbench.report.page.screen import show  # noqa: PLC0415

    chosen = choose(folder, cells)
    found = tuple(profiled(folder, chosen.records))
    if as_json:
        click.echo(json.dumps(data.plain(found, left_out=chosen.left_out), indent=2))
    else:
        show(words.page(found, folder=folder, left_out=chosen.left_out), invocation.console())
    if plot and any(each.profile for each in found):
        picture.draw(found, plot)
        click.echo(inert.line(plot), err=as_json)
    return not any(each.failure for each in found)
