"""The command that looks at runs over time: ``history``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from attnbench import inert
from attnbench.cli import invocation


@click.command(short_help="Say what changed over runs of many commits.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--threshold", type=float, default=0.05, show_default=True, help="Change of a measured figure that matters."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for history.html. [the first]")
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write what changed, for a pull request."
)
@click.option("--json", "as_json", is_flag=True, help="Print changes and trends as JSON, and write no page.")
def history(
    folders: tuple[Path, ...], threshold: float, out: Path | None, markdown: Path | None, as_json: bool
) -> None:
    """Say which figures of which cells changed over runs, between which commits, by how much, and how sure that is.

    FOLDERS are runs, or folders in which runs lie, in any order, from any machines; files that pytest-benchmark wrote
    with --benchmark-json are runs too. Figures of different machines are never compared. The page is history.html.
    """
    from attnbench.history import source, words  # noqa: PLC0415
    from attnbench.history.account import history as account  # noqa: PLC0415 - numpy
    from attnbench.report.page.screen import show  # noqa: PLC0415 - rich
    from attnbench.runs import reporting  # noqa: PLC0415 - pandas

    found = account(source.read(folders), threshold=threshold)
    if as_json:
        click.echo(json.dumps(words.plain(found), indent=2))
        return
    page = words.page(found)
    show(page, invocation.console())
    where = out or (folders[0] if folders[0].is_dir() else folders[0].parent)
    for path in reporting.write_history(found, page, folder=where, markdown_file=markdown):
        click.echo(inert.line(path))
