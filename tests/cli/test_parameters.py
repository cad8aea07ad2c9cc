"""Lists on the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from attnbench.cli.parameters import commas_option


@click.command()
@commas_option("--res")
def shown(res: tuple[str, ...] | None) -> None:
    click.echo(repr(res))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([], None),
        (["--res", "32,48"], ("32", "48")),
        (["--res", "32", "--res", "48 , 64"], ("32", "48", "64")),
    ],
)
def test_a_list_that_is_given_several_times_is_all_of_them(given: list[str], read: tuple[str, ...] | None) -> None:
    assert CliRunner().invoke(shown, given).output == f"{read!r}\n"


def test_an_empty_list_is_refused() -> None:
    found = CliRunner().invoke(shown, ["--res", "32", "--res", ","])
    assert found.exit_code == 2
    assert "it is empty" in found.output
