"""The pytest plugin as its users have it: in a run of pytest of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake_device
import pytest
import torch

from attnbench import devices
from attnbench.errors import StoreError, UsageError
from attnbench.pytest_bridge import call, plugin
from attnbench.report import rows
from attnbench.store.pytest_json import records_from
from mechanisms.mhsa import MHSA

pytest_plugins = ["pytester"]

TEST = """
import pytest

@pytest.mark.parametrize("tokens", ["4x6", "3x3"])
def test_speed(mechanism_benchmark, tokens):
    mechanism_benchmark("mhsa:backend=unfused", tokens, dim=24, heads=3, depth=2, batch=2)

def test_of_something_else(benchmark):
    benchmark(lambda: None)
"""
QUICK = ("--benchmark-min-rounds=2", "--benchmark-max-time=0.01", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "test_theirs.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", *QUICK, "-W", "error", "--benchmark-json=found.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return folder / "found.json"


def test_counts_and_memory_are_beside_every_time(written: Path) -> None:
    content = json.loads(written.read_text())
    found = {each["name"]: each["extra_info"] for each in content["benchmarks"]}
    assert found.keys() == {"test_speed[4x6]", "test_speed[3x3]", "test_of_something_else"}
    mhsa = found["test_speed[4x6]"]
    # Per image and layer, by the formulas of the paper: norm, 4 projections with bias; 4 N C^2 + 2 N^2 C.
    assert mhsa["params"] == 2 * 24 + 4 * (24**2 + 24)
    assert mhsa["macs"] == 4 * 24 * 24**2 + 2 * 24**2 * 24
    assert mhsa["memory_peak_bytes"] > 2 * 24 * 24 * 4
    assert content["machine_info"]["torch"] == torch.__version__
    assert "gpu" in content["machine_info"]


def test_a_report_reads_what_was_written(written: Path) -> None:
    records = records_from(written)
    assert [(r.cell.mechanism, r.cell.height, r.cell.width, r.cell.options["backend"]) for r in records] == [
        ("mhsa", 64, 96, "unfused"), ("mhsa", 48, 48, "unfused"),
    ]  # fmt: skip
    stats = json.loads(written.read_text())["benchmarks"][0]["stats"]
    metrics = records[0].metrics
    assert metrics["latency_median_s"] == stats["median"] / 2
    assert metrics["throughput_img_per_s"] == pytest.approx(2 / metrics["latency_median_s"])
    assert metrics["macs_closed"] == metrics["macs_torch"]
    assert records[0].environment["environment_id"]
    assert set(rows.rows(records)["status"]) == {"ok"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        ("[]", "is not what pytest --benchmark-json writes"),
        ("{", "is not what pytest --benchmark-json writes"),
        ('{"datetime": "", "benchmarks": []}', "holds no benchmark made with mechanism_benchmark"),
    ],
)
def test_a_file_that_holds_no_benchmarks_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "found.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreError, match=said):
        records_from(path)


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, attnbench.pytest_bridge.plugin; print({'torch', 'pandas', 'numpy', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_runs_without_pytest_benchmark_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass\ndef test_speed(mechanism_benchmark): pass")
    done = pytester.runpytest_subprocess("-p", "no:benchmark", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*mechanism_benchmark needs pytest-benchmark: pip install pytest-benchmark*"])


def test_runs_without_torch_say_nothing_of_it() -> None:
    code = "from attnbench.pytest_bridge.plugin import *; a = {}; pytest_benchmark_update_machine_info(a); print(a)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{}"


def test_the_machine_has_the_name_of_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_device.know(monkeypatch)
    info: dict[str, Any] = {}
    plugin.pytest_benchmark_update_machine_info(info)
    assert info["gpu"] == fake_device.MODEL


def test_the_timed_call_ends_when_the_gpu_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_device.know(monkeypatch)
    call._finished(lambda: module.note("called"), devices.of("fake:1"))()
    assert module.asked == ["called", "synchronize"]


class FakeBenchmark:
    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}
        self.timed: list[object] = []

    def __call__(self, function: Any) -> object:
        self.timed.append(function())
        return self.timed[-1]


def test_a_training_step_is_timed_where_asked() -> None:
    benchmark = FakeBenchmark()
    call.MechanismBenchmark(benchmark)("mhsa", "2x3", dim=24, heads=3, mode="train")
    (y,) = benchmark.timed
    assert isinstance(y, torch.Tensor)
    assert y.requires_grad
    assert benchmark.extra_info["attnbench"]["metrics"]["memory_saved_bytes"] > 0


@pytest.mark.parametrize(
    ("mechanism", "tokens", "heads", "said"),
    [
        ("mhsa", "14", 3, "write height and width, such as 14x14"),
        ("mhsa", "0x4", 3, "is not a map of tokens"),
        ("mhsa", "4x4", 5, "mhsa cannot be built at 4x4 tokens, dim 24: dim 24 does not divide into 5 heads"),
        ("mhsa:window=3", "4x4", 3, "unknown option 'window'"),
    ],
)
def test_what_cannot_be_timed_is_refused(mechanism: str, tokens: str, heads: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call.MechanismBenchmark(FakeBenchmark())(mechanism, tokens, dim=24, heads=heads)


def test_the_layer_is_the_registered_one() -> None:
    assert call._cell("mhsa", height=8, width=8).distribution.startswith("attnbench ")
    assert call.discover().find("mhsa").load() is MHSA
