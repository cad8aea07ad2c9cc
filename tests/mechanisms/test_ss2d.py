"""The selective scan where it is exported: one loop, whose length is the map's and whose graph is not."""

from pathlib import Path

import pytest
import torch

from attnbench import Site, runtimes
from attnbench.mechanisms.ss2d import SelectiveScan2D
from attnbench.record import Cell, Scope


def _layer(side: int) -> tuple[SelectiveScan2D, torch.Tensor]:
    torch.manual_seed(0)
    return SelectiveScan2D(Site(height=side, width=side, dim=16, heads=2)).eval(), torch.randn(1, side, side, 16)


@pytest.mark.slow
def test_an_exported_scan_is_as_short_for_many_tokens_as_for_few(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from attnbench.runtimes.onnx import write

    operators = []
    for side in (4, 12):
        (folder := tmp_path / str(side)).mkdir()
        graph = onnx.load(write(*_layer(side), folder)).graph
        operators.append([node.op_type for node in graph.node])
    assert operators[0] == operators[1]
    assert operators[0].count("Scan") == 1


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_carry_the_state_on_as_torch_does(runtime: str) -> None:
    taken = runtimes.of(runtime)
    if reason := taken.why_missing():
        pytest.skip(reason)
    model, x = _layer(12)
    cell = Cell(mechanism="ss2d", scope=Scope.LAYER, height=192, width=192, stage=3, dim=16, heads=2, runtime=runtime)
    found = taken().prepare(model, x, cell=cell)
    with torch.inference_mode():
        torch.testing.assert_close(found.forward(x).clone(), model(x), atol=1e-5, rtol=1e-4)
