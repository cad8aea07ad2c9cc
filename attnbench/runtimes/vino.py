"""OpenVINO, on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnbench.child.scratch import scratch
from attnbench.record import Cell
from attnbench.runtimes import onnx
from attnbench.runtimes.runtime import Forward, Prepared, Runtime, blamed_on

_PRECISION = {"float32": "f32"}
"""What it may compute in: left to itself it takes a half type for float32 where the processor has one."""


class OpenVino(Runtime):
    """Runs ONNX, compiled for the latency of one stream of calls."""

    name = "openvino"
    extra = "attnbench[openvino]"
    needs = ("openvino", *onnx.NEEDS)
    dtypes = frozenset(_PRECISION)

    def prepare(self, model: nn.Module, x: Tensor, *, cell: Cell) -> Prepared:
        """Export a module and compile what it was exported to."""
        with scratch() as folder:
            path = onnx.write(model, x, folder)
            with blamed_on("OpenVINO does not take it"):
                request = _request(path, cell)
        return Prepared(forward=_forward(request), export=onnx.WHOLE)


def _request(path: Path, cell: Cell) -> Any:  # noqa: ANN401 - the package is an extra
    import openvino  # noqa: PLC0415 - an extra

    asked = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(cell.threads),
        "INFERENCE_PRECISION_HINT": _PRECISION[cell.dtype],
        "ENABLE_CPU_PINNING": "NO",  # the calling thread would stay where it was put, in others' turns too
    }
    return openvino.Core().compile_model(str(path), "CPU", asked).create_infer_request()


def _forward(request: Any) -> Forward:  # noqa: ANN401
    def forward(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = request.infer([x.numpy()], share_inputs=True, share_outputs=True)
        outputs = tuple(torch.from_numpy(each) for each in found.values())
        return outputs if len(outputs) > 1 else outputs[0]

    return forward
