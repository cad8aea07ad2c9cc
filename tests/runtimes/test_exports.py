"""Every built-in goes through ONNX whole, and ONNX Runtime then gives what torch gives."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from attnbench import runtimes
from attnbench.models import calls, subject
from attnbench.plugins import options
from attnbench.plugins.registry import discover
from attnbench.record import Cell, Scope

BUILT_INS = sorted(
    entry.name
    for entry in entry_points(group="attnbench.mechanisms")
    if entry.value.startswith("attnbench.mechanisms.")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_INS)
def test_a_built_in_is_exported_whole(tmp_path: Path, name: str) -> None:
    runtime = runtimes.of("onnxruntime")
    if reason := runtime.why_missing():
        pytest.skip(reason)
    given = options.resolve(discover().find(name).load(), {})
    cell = Cell(
        mechanism=name, options=given, scope=Scope.LAYER, height=64, width=64, stage=2, dim=32, heads=2, depth=1,
        runtime="onnxruntime",
    )  # fmt: skip
    asked = subject.of(cell)
    assert not asked.why_unsupported()
    model, x = calls.place(asked, seed=0)
    found = runtime().prepare(model, x, cell=cell)
    with torch.inference_mode():
        torch.testing.assert_close(found.forward(x).clone(), model(x))
