"""What the project promises about itself on two CPU cores: start-up, the first command's time, memory and overhead."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import many_records
import pytest
from installations import put_mechanisms

from attnbench import store
from attnbench.child import Child
from attnbench.record import Cell
from attnbench.runs.heard import WORKER, EnvironmentTaken
from attnbench.runs.job import FORK, Assignment, Job, Settings

COMMAND = ["run", "--mechanisms", "hmhsa,qna", "--res", "224,512"]


def attnbench(*arguments: str, folder: Path) -> float:
    command = [sys.executable, "-m", "attnbench.cli.main", *arguments]
    started = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(folder)})
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["list"]], ids=" ".join)
def test_starts_in_a_fifth_of_a_second(arguments: list[str], tmp_path: Path) -> None:
    best_s = min(attnbench(*arguments, folder=tmp_path) for _ in range(5))
    print(f"\nattnbench {' '.join(arguments)}: {best_s:.2f} s", end="")  # noqa: T201
    assert best_s < 0.2


@pytest.mark.slow
def test_lists_thirty_more_mechanisms_in_half_a_second(tmp_path: Path) -> None:
    put_mechanisms(tmp_path, 30)
    best_s = min(attnbench("list", folder=tmp_path) for _ in range(5))
    print(f"\nattnbench list, 30 more mechanisms: {best_s:.2f} s", end="")  # noqa: T201
    assert best_s < 0.5


@pytest.mark.slow
def test_the_first_command_takes_under_three_minutes_and_four_gib_and_mostly_measures(tmp_path: Path) -> None:
    """The last is not reached: 12 to 13 % when it was measured last, on two cores of an Intel Xeon."""
    whole_s = attnbench(*COMMAND, folder=tmp_path)
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 2**30
    (run,) = (tmp_path / "results").iterdir()
    outside = 1 - sum(float(record.metrics["running_s"] or 0) for record in store.read(run)) / whole_s
    said = f"{whole_s:.0f} s, largest process {peak_gib:.2f} GiB, {outside:.0%} of the time outside the mechanisms"
    print(f"\n{' '.join(COMMAND)}: {said}", end="")  # noqa: T201
    assert whole_s < 180
    assert peak_gib < 4
    assert outside < 0.1


HANGS = """
import time
from attnbench.mechanisms.mhsa import MHSA
class Hangs(MHSA):
    def forward(self, x):
        open("hanging", "w").close()
        time.sleep(3600)
"""


@pytest.mark.slow
def test_an_interrupted_run_ends_in_two_seconds_whatever_its_worker_does(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HANGS)
    command = ["run", "--mechanisms", "./mine.py:Hangs", "--res", "224", "--scope", "layer", "--stage", "4"]
    child = subprocess.Popen([sys.executable, "-m", "attnbench.cli.main", *command], cwd=tmp_path)
    while not (tmp_path / "hanging").exists():
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    started = time.monotonic()
    child.wait()
    ended_s = time.monotonic() - started
    print(f"\ninterrupted run: {ended_s:.2f} s to its end", end="")  # noqa: T201
    assert ended_s < 2
    assert child.returncode == 130


FOURTEEN = "hmhsa,lavit,linear,linear-sra,linformer,maxvit,mhsa,performer,qna,sasa,sra,swin,twins,xca"


@pytest.mark.slow
def test_fourteen_mechanisms_are_counted_at_four_resolutions_in_ten_seconds(tmp_path: Path) -> None:
    asked = ["run", "--mechanisms", FOURTEEN, "--scope", "layer", "--until", "counts", "--res", "224,384,512,768"]
    whole_s = attnbench(*asked, folder=tmp_path)
    (run,) = (tmp_path / "results").iterdir()
    rows = len(store.read(run))
    print(f"\n{' '.join(asked)}: {rows} cells in {whole_s:.1f} s", end="")  # noqa: T201
    assert rows == 14 * 4
    assert whole_s < 10


@pytest.mark.slow
def test_eight_groups_of_two_short_cells_take_twenty_five_seconds(tmp_path: Path) -> None:
    groups = ["--scope", "layer", "--stage", "3,4", "--res", "64,96,128,160"]
    asked = ["run", "--mechanisms", "hmhsa", *groups, "--max-time", "0.3"]
    whole_s = attnbench(*asked, folder=tmp_path)
    (run,) = (tmp_path / "results").iterdir()
    rows = len(store.read(run))
    print(f"\n{' '.join(asked)}: {rows} cells in {whole_s:.1f} s", end="")  # noqa: T201
    assert rows == 8 * 2
    assert whole_s < 25


@pytest.mark.slow
def test_a_group_starts_in_three_tenths_of_a_second_after_the_first(tmp_path: Path) -> None:
    cell = Cell(mechanism="mhsa", options={"backend": "sdpa"}, height=32, width=32)
    settings = Settings(max_time_s=0.1)
    job = Job(assignments=(Assignment(cell=cell),), baseline="", settings=settings, samples=str(tmp_path))
    job.write(tmp_path / "job.json")

    def start_s() -> float:
        started = time.monotonic()
        arguments = [str(tmp_path / "job.json")]
        with Child(
            "attnbench.worker.main", *arguments, events=WORKER, log=tmp_path / "log", threads=1, isolation=FORK
        ) as child:
            event = child.next_event(timeout_s=300)
        assert isinstance(event, EnvironmentTaken)
        return time.monotonic() - started

    first_s, later_s = start_s(), sorted(start_s() for _ in range(8))
    print(f"\na group starts in {first_s:.1f} s, later ones in {later_s[0]:.2f} to {later_s[-1]:.2f} s", end="")  # noqa: T201
    assert later_s[4] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "most_s"), [(20_000, 10), (100_000, 60)])
@pytest.mark.parametrize("mechanisms", [14, 500])
def test_a_report_of_many_rows(rows: int, most_s: float, mechanisms: int, tmp_path: Path) -> None:
    many_records.write(tmp_path / "many", rows, mechanisms=mechanisms)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    attnbench("report", "many", "--out", "out", folder=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"\nreport of {rows:,} rows of {mechanisms} mechanisms: {taken_s:.1f} s of a core", end="")  # noqa: T201
    assert taken_s < most_s
