"""Commands for who writes a mechanism: ``new`` and ``check``."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from attnbench import inert
from attnbench.cli import invocation
from attnbench.cli.parameters import commas_option


@click.command(short_help="See whether a mechanism keeps the contract.")
@click.argument("mechanism")
@commas_option("--checks", help="Only these. [all]")
def check(mechanism: str, checks: tuple[str, ...] | None) -> None:
    """See whether MECHANISM keeps the contract: a name, name:option=value, or FILE.py:Class.

    Exit status 1 if a check fails.
    """
    from attnbench import testing  # noqa: PLC0415 - torch
    from attnbench.conformance.table import findings_table  # noqa: PLC0415

    with redirect_stdout(io.StringIO()) as printed:
        found = testing.check(mechanism, checks=checks or tuple(testing.CHECKS))
    invocation.console().print(findings_table(found))
    if lines := printed.getvalue().count("\n"):
        click.echo(f"{mechanism} printed {lines} lines meanwhile, left out here")
    if not found.passed:
        click.echo(inert.shown(found))
        sys.exit(invocation.GATE_FAILED)


@click.command(short_help="Write a package with a new mechanism, to start from.")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write. [./NAME]")
def new(name: str, out: Path | None) -> None:
    """Write a small package with a mechanism called NAME: the layer, its closed form, its tests, its pyproject.toml."""
    from attnbench.plugins import scaffold  # noqa: PLC0415

    for path in scaffold.create(name, out):
        click.echo(path)
