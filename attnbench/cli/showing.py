"""Commands that show what is there: ``list`` and ``env``."""

from __future__ import annotations

import click

from attnbench import raised
from attnbench.cli import invocation


@click.command("list", short_help="Show mechanisms and networks.")
@click.argument("names", nargs=-1)
def list_(names: tuple[str, ...]) -> None:
    """Show the mechanisms and networks that are installed: paper, options, where each comes from.

    With NAMES, those alone, and what each option admits.
    """
    from attnbench.cli import listing  # noqa: PLC0415 - only this command needs rich

    console = invocation.console()
    tables = listing.named_tables(names) if names else (listing.mechanisms_table(), listing.networks_table())
    for place, table in enumerate(list(tables)):
        if place:
            console.print()
        console.print(table)


@click.command(short_help="Show the machine and the software.")
def env() -> None:
    """Show the machine and the software, for a bug report."""
    from attnbench.cli.listing import pairs_table  # noqa: PLC0415
    from attnbench.devices import bare  # noqa: PLC0415
    from attnbench.report.environments import describe  # noqa: PLC0415

    try:
        found = _with_torch()
    except Exception as error:  # whatever torch raises that does not import
        package = raised.while_importing(error)
        if not package:
            raise
        found = [(f"{package} does not import", raised.in_words(error)), *describe(bare.take())]
    invocation.console().print(pairs_table(found))


def _with_torch() -> list[tuple[str, str]]:
    from attnbench import devices  # noqa: PLC0415
    from attnbench.devices import energy, environment, names  # noqa: PLC0415 - torch
    from attnbench.report.environments import describe  # noqa: PLC0415

    device = names.preferred(devices.present())
    taken = environment.take(threads=invocation.default_threads(), device=device)
    return [*describe(taken.to_dict()), ("energy counter", energy.counter_of(devices.of(device)))]
