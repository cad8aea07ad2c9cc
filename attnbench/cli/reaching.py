"""The command that shows from how far outputs are influenced: ``reach``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from attnbench import inert
from attnbench.axes import resolution
from attnbench.cli import invocation
from attnbench.cli.parameters import commas_option
from attnbench.errors import UsageError


@click.command(short_help="Show effective receptive fields, side by side.")
@commas_option("--mechanisms", help="Names, name:option=value, FILE.py:Class. [all, if no networks are named]")
@commas_option("--networks", help="Published networks: of plugins, and every model of timm.")
@commas_option("--checkpoint", metavar="NETWORK=FILE,...", help="Trained weights of networks. [random ones]")
@click.option("--train", metavar="DATASET", help="Also train mechanisms, on digits, folder:PATH, torch/cifar10, ...")
@click.option("--epochs", type=click.IntRange(1, 1_000_000), help="Passes over it. [the data set's own]")
@click.option("--res", default="224", show_default=True, help="Image size, 224 or 224x448 (height x width).")
@click.option(
    "--window", type=click.IntRange(1, 65_535), default=7, show_default=True, help="Beyond so many tokens a side."
)
@click.option("--images", type=click.IntRange(1, 100_000), default=4, show_default=True, help="To average over.")
@click.option("--seeds", type=click.IntRange(1, 10_000), default=3, show_default=True, help="Of weights and images.")
@click.option("--threads", type=click.IntRange(1, 4_096), help="CPU threads. [OMP_NUM_THREADS, else all cores but one]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results/reach"),
    show_default=True,
    help="Folder for reach.png, reach.svg and reach.csv.",
)
def reach(window: int, threads: int | None, out: Path, **given: Any) -> None:  # noqa: ANN401 - options of every kind
    """Show how far the token in the middle of each stage's map is influenced from: a picture and a table.

    The size of the gradient of its output over the image, averaged over images of noise (Luo et al., 2016). Mechanisms
    are looked at in the backbone, as it starts; with --train in one that suits the data, before and after, on images of
    it. Exit status 1 where one could not be looked at.
    """
    from attnbench.reach import asking, picture, words  # noqa: PLC0415 - torch
    from attnbench.report.page.screen import screen  # noqa: PLC0415 - rich
    from attnbench.runs.screen import counted  # noqa: PLC0415

    asked = asking.ReachRequest(**_read(given))
    asking.set_up(threads or invocation.default_threads())
    console = invocation.console()
    with counted(console, "receptive fields", total=asking.total(asked)) as step:
        found = list(asking.reach(asked, step=step))
    rows, said = list(words.rows(found, window=window)), asking.averaged(asked)
    console.print(screen(words.page(rows, window=window)))
    panels = picture.panels(found, asking.names(found), window=window)
    subtitle = f"gradient over {said}; frame: {window} x {window} tokens"
    for path in picture.write(panels, words.text(rows), subtitle=subtitle, folder=out):
        click.echo(inert.line(path))
    if any(one.failure for one in found):
        sys.exit(invocation.GATE_FAILED)


def _read(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for by the names of a request."""
    from attnbench.plugins.registry import discover  # noqa: PLC0415

    networks, mechanisms = given["networks"] or (), given["mechanisms"]
    everyone = () if networks else tuple(discover().plugins)
    return {
        "mechanisms": everyone if mechanisms is None else mechanisms,
        "networks": networks,
        "checkpoints": _checkpoints(given["checkpoint"] or (), networks),
        "size": _size(given["res"]),
        "train": given["train"] or "",
        **{name: given[name] for name in ("images", "seeds", "epochs")},
    }


def _size(written: str) -> tuple[int, int]:
    try:
        return resolution(written)
    except ValueError as error:
        raise UsageError(f"--res {written}: {error}") from None


def _checkpoints(written: tuple[str, ...], networks: tuple[str, ...]) -> dict[str, str]:
    found = {name: file for name, _, file in (each.partition("=") for each in written)}
    named = {each.partition(":")[0] for each in networks}
    mistakes = [f"--checkpoint {each}: write NETWORK=FILE" for each in written if not each.partition("=")[2]]
    for name, file in found.items():
        if name not in named:
            mistakes.append(f"--checkpoint {name}={file}: it is none of --networks")
        elif file and not Path(file).expanduser().is_file():
            mistakes.append(f"--checkpoint {name}={file}: there is no such file")
    if mistakes:
        raise UsageError(*mistakes)
    return found
