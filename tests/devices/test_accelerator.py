"""A sweep and a benchmark on an accelerator that another package brings, from the command line to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fake_device
import pytest

from attnbench import devices, store
from attnbench.probes.memory import peak
from attnbench.record import Record, Status

SMALL = ["--res", "64", "--scope", "layer", "--dim", "16", "--heads", "2", "--depth", "1", "--threads", "1"]
BENCHMARK = """
def test_speed(mechanism_benchmark):
    mechanism_benchmark("mhsa", "4x4", dim=16, heads=2, device="fake:0")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two mechanisms on ``fake:1``, and what the fake was asked."""
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-m", "attnbench.cli.main", "run", "--device", "fake:1", "--mechanisms", "mhsa,swin"]
    done = subprocess.run(
        [*command, *SMALL, "--max-time", "0.05", "--out", "out"],
        cwd=folder, env=fake_device.put(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(run: Path) -> list[Record]:
    return store.read(run / "out")


def asked(folder: Path) -> dict[str, list[str]]:
    """Return what the fake was asked, by process."""
    found: dict[str, list[str]] = {}
    for line in (folder / "asked.log").read_text().splitlines():
        process, _, what = line.partition(" ")
        found.setdefault(process, []).append(what)
    return found


def test_rows_name_the_accelerator(rows: list[Record]) -> None:
    assert [(row.status, row.cell.device, row.environment["hardware"]) for row in rows] == [
        (Status.OK, "fake:1", fake_device.MODEL)
    ] * 2


def test_rows_have_their_bound_and_the_roofline_is_drawn(run: Path, rows: list[Record]) -> None:
    limits = json.loads((run / "out" / "limits.json").read_text())
    for row in rows:
        assert row.environment["flags"]["fake_set_up"]
        assert row.environment["environment_id"] in limits
        assert row.metrics["latency_bound_s"] > 0
    assert (run / "out" / "plots" / "roofline.png").exists()


def test_memory_is_asked_of_the_cell_s_own_device(rows: list[Record]) -> None:
    for row in rows:
        assert row.metrics["memory_peak_bytes"] == fake_device.PEAK_BYTES
        assert row.metrics["memory_reserved_bytes"] == 2048


def test_a_process_is_set_up_before_anything_else_is_asked_of_the_device(run: Path) -> None:
    measuring = [what for what in asked(run).values() if "describe" in what]
    assert len(measuring) == 3, "the worker, and the children that measure the limits before it and after"
    assert {what[0] for what in measuring} == {"set device"}


def test_the_peak_of_a_call_is_measured_between_two_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_device.know(monkeypatch)
    found = peak(lambda: module.note("call"), device="fake:0", forget=lambda: module.note("forget"))
    assert (found.peak_bytes, found.absolute_bytes) == (fake_device.PEAK_BYTES, fake_device.PEAK_BYTES + 100)
    assert module.asked == [
        *("call", "forget", "synchronize", "empty cache", "memory", "reset peak", "call", "synchronize", "memory")
    ]


def test_time_is_until_the_device_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_device.know(monkeypatch)
    took = devices.of("fake:0").timer().sample(lambda: module.note("call"), 2)
    assert module.asked == ["synchronize", "call", "call", "synchronize"]
    assert took.ns >= took.host_ns > 0


def test_the_pytest_fixture_measures_in_the_environment_of_a_run(tmp_path: Path, rows: list[Record]) -> None:
    (tmp_path / "test_theirs.py").write_text(BENCHMARK)
    quick = ["--benchmark-min-rounds=2", "--benchmark-max-time=0.01", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *quick, "--benchmark-json=found.json"]
    variables = fake_device.put(tmp_path) | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (found,) = json.loads((tmp_path / "found.json").read_text())["benchmarks"]
    environment = found["extra_info"]["attnbench"]["environment"]
    for part in ("flags", "variables", "gpu", "software"):
        assert environment[part] == rows[0].environment[part]
    assert environment["environment_id"] == rows[0].environment["environment_id"]
