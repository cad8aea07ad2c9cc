"""Lists on the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from attnbench.cli.measuring import run as measuring_run
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


def test_a_shell_is_offered_what_the_last_of_several_values_may_become() -> None:
    run = measuring_run.make_context("run", [], resilient_parsing=True)
    by_name = {param.name: param for param in run.command.params}

    def offered(option: str, typed: str) -> list[str]:
        return [item.value for item in by_name[option].shell_complete(run, typed)]

    assert offered("mechanisms", "hmhsa,q") == ["hmhsa,qna"]
    assert offered("mode", "") == ["infer", "train"]
    assert offered("dtype", "float32,bfl") == ["float32,bfloat16"]
    assert offered("res", "2") == []
