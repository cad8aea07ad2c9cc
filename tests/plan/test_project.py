"""What a project says is usual in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import UsageError
from attnbench.plan.given import read_request
from attnbench.plan.project import defaults
from attnbench.plan.request import Request
from attnbench.runs.job import Settings


def asked(folder: Path, file: Path | None = None, **given: Any) -> tuple[Request, Settings]:
    return read_request(file, given, threads=1, usual=defaults(folder))


def test_a_file_of_its_own_goes_before_the_shared_one(tmp_path: Path) -> None:
    assert defaults(tmp_path) == ("", {})
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert defaults(tmp_path) == ("", {})
    (tmp_path / "pyproject.toml").write_text("[tool.attnbench]\nres = [64]\n")
    assert defaults(tmp_path) == ("pyproject.toml, tool.attnbench", {"res": [64]})
    (tmp_path / "attnbench.toml").write_text("res = [96]\n")
    assert defaults(tmp_path) == ("attnbench.toml", {"res": [96]})


def test_options_go_first_then_the_sweep_file_then_what_is_usual(tmp_path: Path) -> None:
    (tmp_path / "attnbench.toml").write_text('mechanisms = ["qna"]\nres = [64]\nbatch = [2]\nmax-time = 3\n')
    sweep = tmp_path / "sweep.toml"
    sweep.write_text("res = [96]\n")
    request, settings = asked(tmp_path, sweep, batch=("4",))
    assert request.mechanisms == ("qna",)
    assert (request.written("res"), request.written("batch")) == (("96",), ("4",))
    assert settings.max_time_s == 3


def test_what_means_nothing_beside_what_is_given_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "attnbench.toml").write_text('energy = true\nseeds = 5\nstage = ["4"]\nmechanisms = ["qna"]\n')
    request, settings = asked(tmp_path, until="counts")
    assert not settings.energy
    assert request.written("stage") == ("3",)
    layers, _ = asked(tmp_path, scope=("layer",))
    assert layers.written("stage") == ("4",)
    networks, _ = asked(tmp_path, networks=("resnet18",))
    assert networks.mechanisms == ()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("attnbench.toml", "ress = [64]\n", "attnbench.toml: unknown name 'ress'; did you mean res or threads?"),
        ("attnbench.toml", "res = \n", "attnbench.toml"),
        ("attnbench.toml", "max_time = -1\n", "--max-time -1: expected a number of seconds above 0"),
        ("pyproject.toml", "[tool]\nattnbench = 3\n", "tool.attnbench: expected names with values"),
        ("pyproject.toml", "[tool.attnbench]\nx = 3\n", "pyproject.toml, tool.attnbench: unknown name 'x'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=r".*") as error:
        asked(tmp_path)
    assert said in str(error.value)
