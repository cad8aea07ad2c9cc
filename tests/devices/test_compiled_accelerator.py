"""An accelerator that torch alone knows, compiled from its headers, from its clock to a sweep; and CUDA where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerator import bodies, building

from attnbench import store
from attnbench.cli.invocation import GATE_FAILED
from attnbench.devices.clock import EVENTS, HOST
from attnbench.record import Record, Status
from attnbench.selfcheck import kept

pytestmark = pytest.mark.timeout(900)  # all that is tried on it is compiled and tried before the first test
SMALL = ["--res", "64", "--scope", "layer", "--dim", "16", "--heads", "2", "--depth", "1", "--threads", "1"]
LOST = '''
import torch
from attnbench.mechanisms.mhsa import MHSA


class Lost(MHSA):
    """Loses its device when it is called with numbers."""

    def forward(self, x):
        if x.device.type == "fake" and type(x) is torch.Tensor:
            torch.fake.lose(x.device.index)
        return super().forward(x)
'''
BENCHMARK = """
def test_speed(mechanism_benchmark):
    mechanism_benchmark("mhsa", "4x4", dim=16, heads=2, device="fake:1")
"""


def attnbench(folder: Path, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attnbench.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of processes that find the accelerator with torch."""
    return building.put(tmp_path_factory.mktemp("installed")) | {"OMP_NUM_THREADS": "1"}


def came_to(device: str, variables: dict[str, str]) -> dict[str, str]:
    command = [sys.executable, bodies.__file__, device]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def on_the_fake(variables: dict[str, str]) -> dict[str, str]:
    return came_to("fake:1", variables)


@pytest.mark.parametrize("body", [body.__name__ for body in (*bodies.ANY, *bodies.FAKE)])
def test_on_the_fake(on_the_fake: dict[str, str], body: str) -> None:
    assert not on_the_fake[body], on_the_fake[body]


@pytest.fixture(scope="module")
def on_cuda() -> dict[str, str]:
    return came_to("cuda:0", dict(os.environ))


@pytest.mark.gpu
@pytest.mark.parametrize("body", [body.__name__ for body in bodies.ANY])
def test_on_cuda(on_cuda: dict[str, str], body: str) -> None:
    assert not on_cuda[body], on_cuda[body]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Path:
    """A folder with a run of an inference on both kinds of device."""
    folder = tmp_path_factory.mktemp("run")
    asked = ["run", "--device", "fake,cpu", "--mechanisms", "mhsa", *SMALL, "--max-time", "0.05", "--out", "out"]
    done = attnbench(folder, variables, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(run: Path) -> dict[str, Record]:
    return {record.cell.device: record for record in store.read(run / "out")}


def test_a_device_that_torch_alone_knows_is_measured_beside_the_cpu(rows: dict[str, Record]) -> None:
    assert {device: (row.status, row.reason) for device, row in rows.items()} == {
        "fake:0": (Status.OK, ""),
        "cpu": (Status.OK, ""),
    }
    assert rows["fake:0"].environment["hardware"] == "Fake Accelerator"


def test_the_row_says_whose_clock_it_was_and_what_memory_was_counted(rows: dict[str, Record]) -> None:
    found = rows["fake:0"].metrics
    assert found["latency_clock"] == EVENTS or found["latency_clock"].startswith(HOST)
    assert found["memory_counted"] == "allocated_bytes"
    assert not rows["cpu"].metrics.get("latency_clock")


def test_what_was_timed_was_compared_with_an_untouched_copy(rows: dict[str, Record]) -> None:
    assert "float64" in rows["fake:0"].metrics["verified"], "which it does not have, as the row says"
    assert rows["fake:0"].metrics["memory_peak_bytes"] > 0


def test_a_run_is_compared_with_itself(run: Path, variables: dict[str, str]) -> None:
    done = attnbench(run, variables, "compare", "out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fake:0" in done.stdout


def test_a_self_check_on_it_is_kept_beside_the_rows_and_told_with_them(run: Path, variables: dict[str, str]) -> None:
    done = attnbench(
        run, variables, "selfcheck", "--device", "fake", "--threads", "1", "--repeats", "1", "--keep", "out"
    )
    # With one repeat a missed bar says nothing, and how busy the machine is decides.
    assert done.returncode in {0, GATE_FAILED}, done.stdout + done.stderr
    (found,) = kept.read(run / "out")
    assert (found.place.hardware, found.place.device) == ("Fake Accelerator", "fake:0")
    assert sorted(trial.truth for trial in found.result.trials) == [1, 2]
    done = attnbench(run, variables, "report", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    said = (run / "out" / "report.md").read_text()
    assert f"{found.held} of 2 of the 95 % intervals held the truth" in said
    assert "not made: attnbench selfcheck --device cpu" in said


def test_a_lost_device_costs_one_cell_of_a_training_in_half_precision(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "lost.py").write_text(LOST)
    names = ["--mechanisms", "mhsa,lost.py:Lost,xca", "--device", "fake:1", "--mode", "train", "--dtype", "float16"]
    done = attnbench(tmp_path, variables, "run", *names, *SMALL, "--max-time", "0.05", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {record.cell.mechanism.rpartition(":")[2]: record for record in store.read(tmp_path / "out")}
    assert {name: row.status for name, row in rows.items()} == {
        "mhsa": Status.OK, "Lost": Status.FAILED, "xca": Status.OK,
    }, {name: row.reason for name, row in rows.items()}  # fmt: skip
    assert "device 1 is lost" in rows["Lost"].reason


def test_a_device_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, variables: dict[str, str]) -> None:
    done = attnbench(tmp_path, variables, "run", "--mechanisms", "mhsa", "--device", "fake:7", *SMALL)
    assert done.returncode == 2
    assert "cpu, fake:0, fake:1" in done.stderr


def test_the_pytest_fixture_measures_on_it(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "test_theirs.py").write_text(BENCHMARK)
    quick = ["--benchmark-min-rounds=2", "--benchmark-max-time=0.01", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *quick, "--benchmark-json=found.json"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (found,) = json.loads((tmp_path / "found.json").read_text())["benchmarks"]
    assert found["extra_info"]["memory_peak_bytes"] > 0
