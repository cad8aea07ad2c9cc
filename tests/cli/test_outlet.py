"""What is shown goes out as well as the output allows; what it does not allow costs nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnbench.record import Cell, Record, Status
from attnbench.store import Store

FILES = ("records.csv", "report.md", "plots/latency.png")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with Store(tmp_path / "run") as kept:
        for name, latency in (("mhsa", 1.25e-5), ("µ±²\N{EN DASH}x", 2e-5)):
            cell = Cell(mechanism=name, height=224, width=224)
            metrics = {"latency_median_s": latency, "latency_ci_low_s": latency / 2, "latency_ci_high_s": latency * 2}
            kept.append(Record(cell=cell, status=Status.OK, metrics=metrics))
    return tmp_path / "run"


def report(folder: Path, *, stdout: object = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess[bytes]:
    # What runs the tests may set an encoding of its own: tox does.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    return subprocess.run(
        [sys.executable, "-m", "attnbench", "report", str(folder)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=inherited | variables,
        check=False,
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict", "COLUMNS": "0"},
    ],
    ids=str,
)
def test_an_output_without_our_letters_gets_the_nearest(variables: dict[str, str], run: Path) -> None:
    done = report(run, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert all((run / name).is_file() for name in FILES)
    shown = done.stdout.decode("latin-1")
    assert "mhsa" in shown
    assert ("u~2-x" if "ascii" in str(variables) or "LC_ALL" in variables else "µ±²-x") in shown


def test_a_device_that_is_full_is_a_line_and_status_2_and_the_files_are_there(run: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = report(run, stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "attnbench: standard output: No space left on device; what was measured and written is on disk\n"
    )
    assert all((run / name).is_file() for name in FILES)


def test_a_reader_that_has_left_costs_nothing(run: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = report(run, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert all((run / name).is_file() for name in FILES)


@pytest.mark.parametrize("columns", ["0", "1", "7", "1000000", "-3", "x"])
def test_every_width_shows_the_table(columns: str, run: Path) -> None:
    done = report(run, COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"m" in done.stdout


def test_a_folder_whose_name_is_no_text_is_written_and_named(run: Path) -> None:
    odd = run.with_name("\udcff\udcfe\x1b[31m")
    run.rename(odd)
    done = report(odd)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    assert all((odd / name).is_file() for name in FILES)


def test_a_name_that_no_file_can_have_is_a_line() -> None:
    done = report(Path("a" * 300))
    assert done.returncode == 2
    said = done.stderr.decode()  # by who asks for it first, which is another from Python 3.14 on
    assert said.startswith("attnbench: ")
    assert f"{'a' * 300}: File name too long" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)], ids=str)
def test_streams_that_are_closed_cost_nothing_and_give_their_numbers_to_no_file(
    closed: tuple[int, ...], run: Path
) -> None:
    command = f"exec {sys.executable} -m attnbench report {run} {' '.join(f'{number}>&-' for number in closed)}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (1 not in closed)
    assert all((run / name).is_file() for name in FILES)
    looking = "from attnbench.cli import outlet; outlet.guard(); assert open('held', 'w').fileno() > 2; print(1)"
    held = ["sh", "-c", f'exec {sys.executable} -c "{looking}" {" ".join(f"{number}>&-" for number in closed)}']
    assert subprocess.run(held, cwd=run, check=False).returncode == 0


def test_a_working_folder_that_is_gone_is_a_line(tmp_path: Path) -> None:
    command = f"rmdir {tmp_path}/here; exec {sys.executable} -P -m attnbench run --mechanisms xca"
    (tmp_path / "here").mkdir()
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path / "here", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("attnbench: the folder that this was started in is gone; cd to one")
    assert done.stderr.count("\n") == 1
