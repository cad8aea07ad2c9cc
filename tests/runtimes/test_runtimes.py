"""Runtimes as an axis: what each says of itself, and what they make of modules; those not installed are skipped."""

import json
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import brought
import pytest
import torch
from torch import Tensor, nn

from attnbench import runtimes
from attnbench.axes import AXES
from attnbench.errors import PluginError, UsageError
from attnbench.mechanism import Site
from attnbench.mechanisms.qna import QnA
from attnbench.mechanisms.sasa import StandAloneAttention
from attnbench.record import Cell, Mode, Scope
from attnbench.runs.job import Assignment, Event, Job, Running, Settings
from attnbench.runtimes.runtime import CannotRunError, Prepared, Runtime
from attnbench.worker import preflight, torch_state
from attnbench.worker.main import work

OTHERS = ("onnxruntime", "openvino")
CELL = Cell(
    mechanism="mhsa", options={"qkv_bias": True, "backend": "sdpa"}, scope=Scope.LAYER, height=64, width=64, stage=3,
    dim=16, heads=2, depth=1,
)  # fmt: skip


@pytest.fixture(params=OTHERS)
def runtime(request: pytest.FixtureRequest) -> type[Runtime]:
    found = runtimes.of(request.param)
    if reason := found.why_missing():
        pytest.skip(reason)
    return found


def prepared(runtime: type[Runtime], module: nn.Module, x: Tensor, cell: Cell = CELL) -> Prepared:
    return runtime().prepare(module.eval(), x, cell=cell)


class Mine(Runtime):
    """Another package's: it adds one to what torch gives."""

    name = "mine"
    extra = "mine[all]"
    needs = ("no_such_module",)
    dtypes = frozenset({"float32"})

    def prepare(self, model, x, *, cell):
        return Prepared(forward=lambda x: model(x) + 1, export="")


def test_a_cell_without_a_runtime_keeps_its_key_and_cells_of_several_share_a_group() -> None:
    other = replace(CELL, runtime="onnxruntime")
    assert replace(CELL, runtime="torch").key == CELL.key
    assert other.key != CELL.key
    assert other.group == CELL.group
    assert (CELL.label, other.label) == ("mhsa", "mhsa, onnxruntime")


def test_a_name_that_nobody_has_is_a_mistake_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="did you mean onnxruntime"):
        AXES["runtime"].read("onnx")
    with pytest.raises(UsageError, match="did you mean openvino"):
        runtimes.of("openvin")


def test_what_is_not_installed_is_said_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes.of("openvino"), "needs", ("openvino", "no_such_module"))
    (said,) = preflight._missing(["torch", "openvino"])
    assert said.startswith("--runtime openvino: ")
    assert "no_such_module" in said
    assert said.endswith("pip install 'attnbench[openvino]'")


def test_another_package_brings_one_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    brought.bring(
        monkeypatch,
        EntryPoint(name="mine", value="mine_of_a_test:Mine", group=runtimes.GROUP),
        EntryPoint(name="broken", value="pathlib:Path", group=runtimes.GROUP),
    )
    monkeypatch.setattr(EntryPoint, "load", lambda entry: Mine if entry.name == "mine" else Path)
    assert AXES["runtime"].read("mine") == "mine"
    assert runtimes.of("mine") is Mine
    assert runtimes.why_missing("mine") == "no_such_module not installed: pip install 'mine[all]'"
    with pytest.raises(PluginError, match="not a subclass"):
        runtimes.of("broken")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mode": Mode.TRAIN}, "only infers"),
        ({"dtype": "bfloat16"}, "not bfloat16"),
        ({"compiled": True}, "--compile is torch's"),
        ({"sdpa": "math"}, "--sdpa names kernels of torch's"),
        ({"device": "fake:1"}, "not on fake"),
    ],
)
def test_what_a_runtime_cannot_do_is_said_before_anything_is_exported(changed: dict[str, object], said: str) -> None:
    for name in OTHERS:
        assert said in runtimes.of(name).why_unsupported(replace(CELL, runtime=name, **changed))
        assert not runtimes.of(name).why_unsupported(replace(CELL, runtime=name))
    assert not runtimes.of("torch").why_unsupported(replace(CELL, **{**changed, "dtype": "float32"}))


class Layers(nn.Module):
    """Two outputs, one of a layer with a translation of its own."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x), x.sum(-1)


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("kind", [QnA, StandAloneAttention])
def test_operators_of_the_built_ins_are_translated(runtime: type[Runtime], kind: type, window: int) -> None:
    torch.manual_seed(0)
    layer = Layers(kind(Site(height=7, width=10, dim=16, heads=2), window=window))
    x = torch.randn(2, 7, 10, 16)
    found = prepared(runtime, layer, x)
    assert found.export == "ONNX, whole"
    with torch.inference_mode():
        for _ in range(2):
            x.normal_()
            for right, other in zip(layer(x), found.forward(x), strict=True):
                torch.testing.assert_close(other.clone(), right)


def test_windows_that_lie_far_below_the_best_are_exact_in_a_graph_too(runtime: type[Runtime]) -> None:
    torch.manual_seed(0)
    layer = QnA(Site(height=6, width=6, dim=16, heads=2)).eval()
    with torch.no_grad():
        layer.attention.query.normal_()
        layer.attention.key.mul_(5000)  # scores hundreds apart
    x = torch.randn(1, 6, 6, 16)
    forward = prepared(runtime, layer, x).forward
    with torch.inference_mode():
        torch.testing.assert_close(forward(x).clone(), layer(x), rtol=1e-3, atol=1e-5)


def test_what_stops_openvino_s_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := runtimes.of("openvino").why_missing():
        pytest.skip(reason)
    import openvino

    class Core(openvino.Core):
        def compile_model(self, *_: object) -> object:
            raise RuntimeError("Exception from core.cpp:117:\nWhile validating node 'opset1::Reshape view (...)'")

    monkeypatch.setattr(openvino, "Core", Core)
    with pytest.raises(CannotRunError, match="fails to compile the graph: it stops at a Reshape"):
        prepared(runtimes.of("openvino"), nn.Linear(4, 4), torch.ones(2, 4))


def test_what_stops_an_export_is_named(runtime: type[Runtime]) -> None:
    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)

    with pytest.raises(CannotRunError, match="stops at prims::bessel_j0"):
        prepared(runtime, Strange(), torch.ones(3))


def test_runtimes_are_timed_beside_torch_and_say_how_far_they_are_from_it(
    tmp_path: Path, runtime: type[Runtime]
) -> None:
    other = replace(CELL, runtime=runtime.name)
    cells = [replace(CELL, options=dict(CELL.options)), other, replace(other, compiled=True)]
    job = Job(
        assignments=tuple(Assignment(cell=cell) for cell in cells), baseline=cells[0].key,
        settings=Settings(max_time_s=0.01), samples=str(tmp_path),
    )  # fmt: skip
    events: list[Event] = []
    with torch_state.restored():
        work(job, events.append, Running(tmp_path / "running"))

    found: dict[int, dict[str, object]] = {}
    for event in json.loads(json.dumps(events)):
        if event.get("cell") is not None:
            found.setdefault(event["cell"], {}).update(event.get("metrics", {}))
    ended = {event["cell"]: event.get("status", "timed") for event in events if event["event"] in {"timed", "done"}}
    assert ended == {0: "timed", 1: "timed", 2: "unsupported"}
    assert found[0]["memory_peak_bytes"]
    assert "memory_peak_bytes" not in found[1]
    assert found[1]["macs"] == found[0]["macs"]
    assert found[1]["runtime_error"] < 1e-5
    assert str(found[1]["runtime_version"]).startswith(runtime.name)
    assert found[1]["latency_ratio"]
