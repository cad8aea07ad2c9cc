"""Models beyond protobuf's 2 GiB: torch's exporter puts weights beside the graph from a size on.

A small model shows what becomes of them, with that size lowered; a truly large one, that it is so.
"""

from importlib import import_module
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from attnbench import runtimes
from attnbench.record import Cell
from attnbench.runtimes import onnx

CELL = Cell(mechanism="mhsa", height=64, width=64)
SIDE = 14_000
"""Inputs and outputs of a layer: three such layers have 2.2 GiB of weights in float32."""
ENOUGH_BYTES = 10 * 2**30
"""Of memory: OpenVINO came to 7.5 GiB with them, ONNX Runtime to 6."""


@pytest.fixture
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is one that does not fit into a file of ONNX."""
    if any(runtimes.of("onnxruntime").why_missing()):
        pytest.skip("onnx is not installed")
    program = import_module("torch.onnx._internal.exporter._onnx_program")
    assert program._LARGE_MODEL_THRESHOLD < 2**31, "no weights that protobuf cannot hold are left in the file"
    monkeypatch.setattr(program, "_LARGE_MODEL_THRESHOLD", 1)


@pytest.mark.usefixtures("_large")
def test_weights_beside_the_graph_are_read_by_each_runtime_in_float32_and_int8(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(64, 48).eval(), torch.randn(8, 64)
    path = onnx.write(model, x, tmp_path)
    assert onnx.is_large(path)
    assert path.stat().st_size < 4 * 64 * 48 < path.with_name("model.onnx.data").stat().st_size + 4 * 64
    with torch.inference_mode():
        right = model(x)
        for name in ("onnxruntime", "openvino"):
            runtime = runtimes.of(name)
            if runtime.why_missing() or runtime.why_not_quantizing():
                continue
            whole = runtime().prepare(model, x, cell=CELL).forward(x).clone()
            torch.testing.assert_close(whole, right)
            eight = runtime().quantize(model, x, cell=CELL, samples=[x]).forward(x).clone()
            assert 0 < float((eight - right).abs().max()) < 0.05 * float(right.abs().max()), name


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_model_that_protobuf_cannot_hold_is_run_whole(name: str) -> None:
    runtime = runtimes.of(name)
    if reason := runtime.why_missing():
        pytest.skip(reason)
    if psutil.virtual_memory().available < ENOUGH_BYTES:
        pytest.skip(f"it takes {ENOUGH_BYTES >> 30} GiB of memory")
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(SIDE, SIDE, device="meta") for _ in range(3))).to_empty(device="cpu").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.uniform_(-(SIDE**-0.5), SIDE**-0.5)
    assert sum(each.numel() * each.element_size() for each in model.parameters()) > 2**31
    x = torch.randn(2, SIDE)
    found = runtime().prepare(model, x, cell=CELL)
    assert found.export == onnx.WHOLE
    with torch.inference_mode():
        torch.testing.assert_close(found.forward(x).clone(), model(x), rtol=1e-4, atol=1e-4)
