"""Options that are given: what changes nothing is refused, what overloads the machine is said."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from attnbench.axes import AXES
from attnbench.cli.parameters import CommaList
from attnbench.devices.machine import whole_cores
from attnbench.errors import UsageError
from attnbench.plan.given import default_threads, read_request
from attnbench.runs.session import folder_of


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stage": ("2",), "dim": 77}, ["--stage does nothing without --scope layer", "--dim does nothing without"]),
        (
            {"scope": ("network",), "networks": ("resnet18",), "depth": 2},
            ["--depth does nothing without --scope layer", "--mechanisms does nothing without --scope backbone"],
        ),
        ({"seeds": 5, "epochs": 1}, ["--seeds does nothing without --accuracy", "--epochs does nothing without"]),
        ({"energy": True, "until": "memory"}, ["--energy does nothing without timing"]),
        ({"pad": ("128",)}, ["--pad does nothing without --networks"]),
        ({"checkpoint": ("a=b",)}, ["--checkpoint does nothing without --accuracy"]),
    ],
)
def test_options_that_would_change_nothing_are_refused_all_at_once(given: dict[str, object], said: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        read_request(None, {"mechanisms": ("mhsa",)} | given, threads=1)
    assert len(error.value.mistakes) == len(said)
    assert all(expected in mistake for expected, mistake in zip(said, error.value.mistakes, strict=True))


def test_a_setting_of_words_takes_no_other_word() -> None:
    with pytest.raises(UsageError, match=r"^--isolation spwan: did you mean spawn\?$"):
        read_request(None, {"mechanisms": ("mhsa",), "isolation": "spwan"}, threads=1)
    _, settings = read_request(None, {"mechanisms": ("mhsa",), "isolation": "spawn"}, threads=1)
    assert settings.isolation == "spawn"


def test_options_with_what_they_need_are_taken() -> None:
    given = {"mechanisms": ("mhsa",), "scope": ("layer", "backbone"), "stage": ("2",), "accuracy": "digits", "seeds": 2}
    request, _ = read_request(None, given, threads=1)
    assert (request.written("stage"), request.seeds) == (("2",), 2)


def test_mechanisms_and_networks_are_both_measured_if_both_are_named() -> None:
    given = {"mechanisms": ("mhsa",), "networks": ("resnet18",)}
    assert read_request(None, given, threads=1)[0].written("scope") == ("backbone", "network")
    with pytest.raises(UsageError, match="--mechanisms does nothing without --scope backbone or layer"):
        read_request(None, given | {"scope": ("network",)}, threads=1)


def test_a_sweep_file_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('mechanisms = "mhsa"\nstage = 2\n')
    with pytest.raises(UsageError, match="--stage does nothing"):
        read_request(tmp_path / "sweep.toml", {}, threads=1)


def test_values_of_another_type_in_a_sweep_file_are_refused_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(
        'mechanisms = "mhsa"\nthreads = 2\nmax-time = "long"\nseeds = true\nbaseline = 3\nuntil = ["counts"]\n'
    )
    with pytest.raises(UsageError) as error:
        read_request(tmp_path / "sweep.toml", {}, threads=1)
    assert error.value.mistakes == (
        "seeds: expected a whole number, got True",
        "max_time: expected a number, got 'long'",
        "until: expected a text, got ['counts']",
        "baseline: expected a text, got 3",
    )


def test_more_threads_than_cores_are_taken_with_a_warning() -> None:
    cores = whole_cores()
    with pytest.warns(UserWarning, match=f"--threads {cores + 1}: this process may use {cores} cores"):
        request, _ = read_request(None, {"mechanisms": ("mhsa",), "threads": cores + 1}, threads=1)
    assert request.written("threads") == (str(cores + 1),)


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("2,1", 2), ("", None), ("0", None), ("many", None)])
def test_threads_are_what_openmp_was_told_else_all_cores_but_one(
    value: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setattr("attnbench.plan.given.whole_cores", lambda: 4)
    assert default_threads() == (threads or 3)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (16, 15)])
def test_one_core_is_left_to_the_system_where_there_are_several(
    cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("attnbench.plan.given.whole_cores", lambda: cores)
    assert default_threads() == threads


@pytest.mark.parametrize("empty", ["", " ", ",", " , "])
def test_an_empty_list_is_not_the_same_as_none(empty: str) -> None:
    assert CommaList().convert("a, b,", None, None) == ("a", "b")
    with pytest.raises(click.BadParameter, match="it is empty"):
        CommaList().convert(empty, None, None)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"mechanisms": ("hmhsa", "qna"), "res": ("224", "512")}, "hmhsa+qna-224+512-0d253d"),
        (
            {
                "mechanisms": ("hmhsa",), "scope": ("layer",), "stage": ("2", "3"), "dim": 64, "heads": 2, "depth": 3,
                "compile": ("off", "on"), "until": "memory",
            },
            "hmhsa-224-dfa6d6",
        ),
        (
            {"networks": ("resnet18",), "task": "segmentation", "accuracy": "folder:x", "checkpoint": ("resnet18=a",)},
            "resnet18-segmentation-39984e",
        ),
    ],
)  # fmt: skip
def test_a_folder_is_named_as_ever_so_that_runs_are_gone_on_with(given: dict[str, object], name: str) -> None:
    request, _ = read_request(None, given, threads=2)
    assert folder_of(request).name == name


@pytest.mark.parametrize("option", [name for name in AXES if name not in {"device", "res", "scope", "task"}])
def test_every_axis_can_stand_in_a_sweep_file_as_one_value_or_several(option: str, tmp_path: Path) -> None:
    usual = AXES[option].usual or "8"
    subjects = {"mechanisms": "mhsa", "networks": "resnet18", "scope": ("layer", "network")}
    named = 'mechanisms = "mhsa"\nnetworks = "resnet18"\nscope = ["layer", "network"]\n'
    (tmp_path / "sweep.toml").write_text(f'{named}{option} = ["{usual}"]\n')
    request, _ = read_request(tmp_path / "sweep.toml", {}, threads=1)
    assert request.written(option) == (usual,)
    assert request.digest == read_request(None, {**subjects, option: usual}, threads=1)[0].digest
