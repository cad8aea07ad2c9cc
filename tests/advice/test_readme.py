"""The answer that the README shows is the one that the kept run gives today."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli.main import attnbench

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_what_the_command_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    _, _, shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("$ attnbench advise ")
    command, _, output = shown.partition("```")[0].partition("\n")
    found = CliRunner().invoke(attnbench, ["advise", *shlex.split(command)])
    assert [line.rstrip() for line in found.stdout.splitlines()] == output.splitlines()
