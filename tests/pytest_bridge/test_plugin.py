"""The pytest plugin as its users have it: in a run of pytest of their own."""

import gc
import inspect
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import fake_device
import pytest
import torch
from torch.nn import functional
from witnessed import ADVERSARIES, HONEST

from attnbench import devices
from attnbench.axes import AXES, Scope
from attnbench.child import ENDED
from attnbench.child.death import Death
from attnbench.errors import PluginError, StoreError, UsageError
from attnbench.mechanisms.mhsa import MHSA
from attnbench.pytest_bridge import call, plugin, timed
from attnbench.record import Status
from attnbench.report import rows
from attnbench.runs.heard import WORKER
from attnbench.runs.job import Job
from attnbench.store.pytest_json import records_from
from attnbench.worker import referee

pytest_plugins = ["pytester"]

TEST = """
import pytest

@pytest.mark.parametrize("tokens", ["4x6", "3x3"])
def test_speed(mechanism_benchmark, tokens):
    mechanism_benchmark("mhsa:backend=unfused", tokens, dim=24, heads=3, depth=2, batch=2)

def test_of_something_else(benchmark):
    benchmark(lambda: None)

@pytest.mark.benchmark(min_rounds=7)
def test_with_a_mark(mechanism_benchmark):
    mechanism_benchmark("mhsa", "3x3", dim=24, heads=3)
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
    assert found.keys() == {"test_speed[4x6]", "test_speed[3x3]", "test_of_something_else", "test_with_a_mark"}
    rounds = {each["name"]: each["stats"]["rounds"] for each in content["benchmarks"]}
    assert rounds["test_with_a_mark"] >= 7
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
        ("mhsa", 64, 96, "unfused"), ("mhsa", 48, 48, "unfused"), ("mhsa", 48, 48, "sdpa"),
    ]  # fmt: skip
    stats = json.loads(written.read_text())["benchmarks"][0]["stats"]
    metrics = records[0].metrics
    assert metrics["latency_median_s"] == stats["median"] / 2
    assert metrics["throughput_img_per_s"] == pytest.approx(2 / metrics["latency_median_s"])
    assert metrics["macs_closed"] == metrics["macs_torch"]
    assert records[0].environment["environment_id"]
    assert set(rows.rows(records)["status"]) == {"ok"}
    for record in records:
        assert record.cell.cache == "cold"
        assert re.fullmatch(r"[1-5] of \d+, float64 beside", str(record.metrics["verified"]))


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
    timed._finished(lambda: module.note("called"), devices.of("fake:1"))()
    assert module.asked == ["called", "synchronize"]


class FakeBenchmark:
    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}

    def pedantic(self, target: Any, *, setup: Any, rounds: int) -> None:
        for _ in range(min(rounds, 6)):
            setup()
            target()


@pytest.fixture(scope="module", autouse=True)
def _little_garbage() -> Iterator[None]:
    """Leave what is there by now out of every look through all objects, of which a cell takes seven."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


QUICKLY = timed.Bounds(min_rounds=2, max_time_s=0.01)


def benchmarked(mechanism: str, tokens: str = "3x3", **asked: Any) -> FakeBenchmark:
    benchmark = FakeBenchmark()
    call.MechanismBenchmark(benchmark, QUICKLY)(mechanism, tokens, dim=24, heads=3, **asked)
    return benchmark


class RefereeHere:
    """The referee in this process: what it finds is the same, and no process has to start."""

    def __init__(self, module: str, job: str, **_: object) -> None:
        assert module == "attnbench.worker.referee"
        self.events: list[Any] = []
        referee.judge(Job.read(Path(job)), self.events.append)

    def __enter__(self) -> "RefereeHere":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def next_event(self, *, timeout_s: float) -> object:
        event = self.events.pop(0)
        kind = WORKER[event.pop("event")]
        return kind(**event)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "Child", RefereeHere)


def test_a_training_step_is_timed_where_asked(no_process: None) -> None:
    benchmark = benchmarked("mhsa", "2x3", mode="train")
    assert benchmark.extra_info["attnbench"]["metrics"]["memory_saved_bytes"] > 0


@pytest.fixture
def adversaries(monkeypatch: pytest.MonkeyPatch, no_process: None) -> Path:
    monkeypatch.syspath_prepend(ADVERSARIES)  # they are made of the honest one
    monkeypatch.setattr(call, "_WORLDS", {})
    return ADVERSARIES


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_every_timed_call_gets_values_that_none_had_before(
    cache: str, monkeypatch: pytest.MonkeyPatch, no_process: None
) -> None:
    seen: list[torch.Tensor] = []
    make = timed.Witness.call

    def noted(witness: Any) -> None:
        seen.append(witness._one.x.clone())
        make(witness)

    monkeypatch.setattr(timed.Witness, "call", noted)
    benchmarked("mhsa", cache=cache)
    assert len(seen) > 3
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(seen, 2))


def test_what_answers_from_memory_fails_its_test_and_has_no_latency(adversaries: Path, tmp_path: Path) -> None:
    benchmark = FakeBenchmark()
    fixture = call.MechanismBenchmark(benchmark, QUICKLY)
    with pytest.raises(PluginError, match=r"memory.py:Shape from .*: rejected: timed call \d .* another answer"):
        fixture(f"{adversaries / 'memory.py'}:Shape", "3x3", dim=24, heads=3)
    stats = {"median": 1e-9, "rounds": 5}
    written = {"fullname": "theirs", "stats": stats, "extra_info": benchmark.extra_info}
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"datetime": "now", "benchmarks": [written]}))
    (record,) = records_from(path)
    assert record.status is Status.REJECTED
    assert "another answer than the layer's" in record.reason
    assert "latency_median_s" not in record.metrics


def test_a_memory_that_new_values_defeat_is_timed_as_what_it_is(adversaries: Path) -> None:
    benchmark = benchmarked(f"{adversaries / 'memory.py'}:SampledElements")
    assert str(benchmark.extra_info["attnbench"]["metrics"]["verified"])[0] in "12345"


def test_what_cannot_be_verified_is_warned_of_and_is_in_the_row(adversaries: Path) -> None:
    benchmark = FakeBenchmark()
    with pytest.warns(UserWarning, match="OwnGenerator from .*: its timed calls cannot be verified"):
        call.MechanismBenchmark(benchmark, QUICKLY)(f"{HONEST}:OwnGenerator", "3x3", dim=24, heads=3)
    assert "cannot be verified" in benchmark.extra_info["attnbench"]["metrics"]["suspicious"]


def test_what_a_layer_has_patched_is_as_it_was_for_the_tests_beside_it_and_there_when_it_is_timed_again(
    adversaries: Path,
) -> None:
    attention, patched = functional.scaled_dot_product_attention, f"{adversaries / 'patches_torch.py'}:Patched"
    for _ in range(2):
        found = benchmarked(patched).extra_info["attnbench"]["metrics"]
        assert "scaled_dot_product_attention" in found["process_changes"]
        assert functional.scaled_dot_product_attention is attention
    assert call._WORLDS[patched].rebound


def test_what_timed_calls_change_for_everyone_fails_the_test(adversaries: Path) -> None:
    linear = functional.linear
    with pytest.raises(PluginError, match=r"its timed calls change the process for everyone: .*linear"):
        benchmarked(f"{adversaries / 'surroundings.py'}:PatchesLate")
    assert functional.linear is linear


@pytest.mark.parametrize(
    ("said", "events"),
    [("the process ended with status 1 while verifying", [ENDED]), ("verifying took longer than 300 s", [None])],
)
def test_a_verdict_that_does_not_come_is_a_suspicion(
    said: str, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed, "Child", lambda *_, **__: FakeReferee(events))
    with pytest.warns(UserWarning, match=f"its timed calls could not be verified: {said}"):
        benchmarked("mhsa")


class FakeReferee(RefereeHere):
    def __init__(self, events: list[object]) -> None:
        self.events = list(events)

    def next_event(self, *, timeout_s: float) -> object:
        return self.events.pop(0)

    def death(self, phase: str) -> Death:
        return Death(status=Status.CRASHED, reason=f"the process ended with status 1 while {phase}")


def test_there_are_as_many_rounds_as_there_is_time_for() -> None:
    bounds = timed.Bounds(min_rounds=5, max_time_s=1.0)
    assert (bounds.rounds(0.01), bounds.rounds(10.0)) == (100, 5)


@pytest.mark.parametrize(
    ("mechanism", "tokens", "heads", "said"),
    [
        ("mhsa", "14", 3, "write height and width, such as 14x14"),
        ("mhsa", "0x4", 3, "is not a map of tokens"),
        ("mhsa", "4x4", 5, "mhsa cannot be timed: at 4x4 tokens, dim 24: dim 24 does not divide into 5 heads"),
        ("mhsa:window=3", "4x4", 3, "unknown option 'window'"),
    ],
)
def test_what_cannot_be_timed_is_refused(mechanism: str, tokens: str, heads: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call.MechanismBenchmark(FakeBenchmark())(mechanism, tokens, dim=24, heads=heads)


def test_a_kernel_that_cannot_run_here_is_refused_in_a_line() -> None:
    with pytest.raises(UsageError, match=r"^mhsa cannot be timed: torch cannot use its cudnn kernel here: No viable"):
        benchmarked("mhsa", sdpa="cudnn")


def test_the_layer_is_the_registered_one() -> None:
    assert call._cell("mhsa", height=8, width=8).distribution.startswith("attnbench ")
    assert call.discover().find("mhsa").load() is MHSA


def test_the_fixture_takes_every_axis_of_a_layer_and_its_usual_values() -> None:
    """Scope and size are those of ``tokens``, threads those of the tests beside it, and a test compiles its layer."""
    taken = inspect.signature(call.MechanismBenchmark.__call__).parameters
    given = {
        option: axis
        for option, axis in AXES.items()
        if axis.scope in {None, Scope.LAYER} and option not in {"scope", "res", "threads", "compile"}
    }
    assert given.keys() <= taken.keys()
    for option, axis in given.items():
        if get_origin(kind := get_type_hints(call.MechanismBenchmark.__call__)[option]) is Literal:
            assert taken[option].default == axis.usual
            assert [axis.read(each) for each in get_args(kind)]
