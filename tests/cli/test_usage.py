"""What commands refuse, because whoever asked for it would believe that it was done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from attnbench.axes import AXES
from attnbench.cli import main, results
from attnbench.errors import UsageError
from attnbench.plan.given import read_request
from attnbench.runs import session


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare"], ["compare needs two results folders, BASE and HEAD, or --rerun REF"]),
        (["compare", "a", "b", "--res", "224", "--max-time", "1"], ["--res", "--max-time"]),
        (["compare", "a", "b", "--out", "c"], ["--out does nothing without --rerun"]),
        (["compare", "a", "--rerun", "HEAD"], ["--rerun REF compares REF with the working tree"]),
        (["list", "swinn"], ["unknown mechanism 'swinn'; did you mean swin", "unknown network 'swinn'; known are "]),
        (["claims", "--threads", "0", "--until", "counts"], ["--threads '0': expected a whole number from 1"]),
        (["run", "--accuracy", "digits", "--epochs", "-1", "--mechanisms", "mhsa"], ["--epochs -1: expected"]),
    ],
)
def test_what_would_change_nothing_or_cannot_be_is_refused(arguments: list[str], said: list[str]) -> None:
    error = CliRunner().invoke(main.attnbench, arguments).exception
    assert isinstance(error, UsageError), error
    assert all(expected in mistake for expected, mistake in zip(said, error.mistakes, strict=True)), error.mistakes


def test_what_a_mechanism_prints_does_not_bury_what_was_found_of_it(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "from attnbench.mechanisms.mhsa import MHSA\n"
        "class Loud(MHSA):\n"
        "    def forward(self, x):\n"
        "        print('LOOK AT ME')\n"
        "        return super().forward(x)\n"
    )
    done = CliRunner().invoke(main.attnbench, ["check", f"{tmp_path}/loud.py:Loud", "--checks", "shape,deterministic"])
    assert done.exit_code == 0, done.output
    assert "LOOK AT ME" not in done.output
    assert re.search(r"Loud printed \d+ lines meanwhile, left out here", done.output)


def test_a_rerun_takes_every_axis_that_run_takes() -> None:
    taken = {option for each in results.compare.params for option in each.opts}
    assert {f"--{axis.option}" for axis in AXES.values()} <= taken


@pytest.mark.parametrize(
    ("asked", "said"), [({"scope": ("network",)}, "leave network out"), ({"task": ("detection",)}, "leave --task out")]
)
def test_a_rerun_says_what_is_no_mechanisms(asked: dict[str, tuple[str, ...]], said: str) -> None:
    request, settings = read_request(None, asked, threads=1)
    with pytest.raises(UsageError, match=said):
        session.rerun("HEAD", request, settings, threshold=0.05, out=None, console=Console())


def test_a_file_without_a_class_of_that_name_is_listed_as_such(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine: pass\n")
    found = CliRunner().invoke(main.attnbench, ["list", f"{tmp_path / 'mine.py'}:Nope"], env={"COLUMNS": "300"})
    assert "no class of that name is written out there" in found.output


@pytest.mark.parametrize("command", sorted(main.attnbench.commands))
def test_a_help_page_has_an_example_on_each_line_and_nothing_of_its_source(command: str) -> None:
    page = CliRunner().invoke(main.attnbench, [command, "--help"]).output
    assert not re.search(r"\\|\x08", page)
    assert all(line.strip().count("attnbench ") == 1 for line in re.findall(r"^  attnbench .*", page, re.MULTILINE))
