"""``attnbench advise``: an answer and its exit status, and what is refused before anything is read."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from attnbench.cli.main import attnbench
from attnbench.devices import gpus, machine
from attnbench.errors import UsageError

KEPT = next((Path(__file__).parents[2] / "results" / "reference").glob("hmhsa+qna-224+512-*"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(attnbench, ["advise", str(KEPT), *arguments])


def test_it_answers_from_a_kept_run() -> None:
    found = run("--res", "384", "--max-memory", "1GiB")
    assert found.exit_code == 0
    assert "Take qna" in found.output
    assert "read off between 224 and 512" in found.output
    measured = found.stdout.rstrip().rpartition("\n")[2]
    assert measured == "attnbench run --mechanisms qna,hmhsa:backend=sdpa --res 384x384 --device cpu --threads 1"


def test_where_none_fits_the_exit_status_says_so() -> None:
    found = run("--res", "512", "--max-latency", "1us", "--json")
    assert found.exit_code == 1
    (one,) = json.loads(found.stdout)["answers"]
    assert one["choice"] is None
    assert one["nearest"]["mechanism"]["label"] == "qna"


@pytest.mark.parametrize(
    ("arguments", "mistakes"),
    [
        (("--res", "wide"), ["--res wide: expected pixels as 224"]),
        (("--res", "224", "--best-by", "latncy"), ["--best-by latncy: did you mean latency?"]),
        (
            ("--res", "224", "--max-latency", "5", "--per-image-cost", "h100"),
            ["--max-latency: expected latency such as 500ms", "--per-image-cost h100: expected a machine"],
        ),
        (("--res", "224", "--under", "tpu"), ["no row was measured under such conditions"]),
    ],
)
def test_what_is_wrong_is_said_all_at_once(arguments: tuple[str, ...], mistakes: list[str]) -> None:
    found = run(*arguments)
    assert isinstance(found.exception, UsageError)
    assert len(found.exception.mistakes) == len(mistakes)
    for said, expected in zip(found.exception.mistakes, mistakes, strict=True):
        assert expected in said


def test_rows_of_another_machine_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "measured on AMD EPYC, 2 cores, and this machine is another, Some CPU"
    for model, expected in (("Some CPU", other), ("AMD EPYC", "")):
        monkeypatch.setattr(machine, "cpu", lambda model=model: SimpleNamespace(model=model))
        monkeypatch.setattr(gpus, "names", tuple)
        assert run("--res", "512").stderr == (f"attnbench: {expected}\n" if expected else "")


def test_a_limit_says_of_everybody_whether_it_is_kept() -> None:
    said = run("--res", "512", "--max-latency", "700ms").stdout.replace("\n", " ")
    assert "That it fits is certain." in said
    assert "No other fits: hmhsa, latency 836 ms" in said
    within = json.loads(run("--res", "384", "--max-latency", "500ms", "--json").stdout)
    (one,) = within["answers"]
    assert [each["label"] for each in one["beyond_a_limit"]] == ["mhsa"]
