"""OpenVINO, on the processor."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnbench.axes import INT8
from attnbench.record import Cell
from attnbench.runtimes import onnx, vino_int8
from attnbench.runtimes.exports import Export, exported
from attnbench.runtimes.runtime import WARM_UP, CannotRunError, Forward, Prepared, Runtime, Spent, blamed_on

_STOPS_AT = re.compile(r"While validating node '(?:\w+::)?(\w+)")
_PRECISION = "f32"
"""What it may compute in: left to itself it takes a half type for float32 where the processor has one."""


class OpenVino(Runtime):
    """Runs ONNX, compiled for the latency of one stream of calls."""

    name = "openvino"
    extra = "attnbench[openvino]"
    needs = ("openvino", *onnx.NEEDS)
    quantizers = ("nncf",)
    dtypes = frozenset({"float32", INT8})

    def prepare(self, model: nn.Module, x: Tensor, *, cell: Cell) -> Prepared:
        """Export a module and compile what it was exported to."""
        with exported(model, x, cell=cell, kept=self.exports) as export, blamed_on("OpenVINO does not take it"):
            request = _request(_read(export.path), cell, watches=self.watches)
        return self._taken_over(request, export)

    def quantize(self, model: nn.Module, x: Tensor, *, cell: Cell, samples: Sequence[Tensor]) -> Prepared:
        """Export a module, quantise what was exported, and compile that."""
        with exported(model, x, cell=cell, kept=self.exports) as export, blamed_on("OpenVINO does not quantise it"):
            quantized = vino_int8.quantized(_read(export.path), samples)
            request = _request(quantized.graph, cell, watches=self.watches)
        return self._taken_over(request, export, quantized.said)

    def _taken_over(self, request: Any, export: Export, remark: str = "") -> Prepared:  # noqa: ANN401 - the package is an extra
        spent = partial(_spent, request) if self.watches else None
        forward = _forward(request)
        return Prepared(forward=forward, export=onnx.WHOLE, remark=remark, spent=spent, spared_s=export.spared_s)


def _read(path: Path) -> Any:  # noqa: ANN401
    import openvino  # noqa: PLC0415 - an extra

    return openvino.Core().read_model(str(path))


def _request(graph: Any, cell: Cell, *, watches: bool) -> Any:  # noqa: ANN401
    import openvino  # noqa: PLC0415 - an extra

    asked = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(cell.threads),
        "INFERENCE_PRECISION_HINT": _PRECISION,
        "PERF_COUNT": "YES" if watches else "NO",
        "ENABLE_CPU_PINNING": "NO",  # the calling thread would stay where it was put, in others' turns too
    }
    try:
        return openvino.Core().compile_model(graph, "CPU", asked).create_infer_request()
    except RuntimeError as error:
        if (found := _STOPS_AT.search(str(error))) is None:
            raise
        quantized = "quantised " if cell.dtype == INT8 else ""
        raise CannotRunError(f"OpenVINO fails to compile the {quantized}graph: it stops at a {found[1]}") from error


def _forward(request: Any) -> Forward:  # noqa: ANN401
    def forward(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = request.infer([x.numpy()], share_inputs=True, share_outputs=True)
        outputs = tuple(torch.from_numpy(each) for each in found.values())
        return outputs if len(outputs) > 1 else outputs[0]

    return forward


def _spent(request: Any, x: Tensor, calls: int) -> Spent:  # noqa: ANN401
    """Make some calls and return what ran in them, by the names of OpenVINO's own operators."""
    forward = _forward(request)
    for _ in range(WARM_UP):
        forward(x)
    before, started = _means_s(request), time.perf_counter()
    for _ in range(calls):
        forward(x)
    took_s, after = time.perf_counter() - started, _means_s(request)
    ran = []
    for node, (kind, mean_s) in after.items():  # means are over all calls, the first ones included
        each_s = (mean_s * (WARM_UP + calls) - before[node][1] * WARM_UP) / calls
        ran += [(kind, max(0.0, each_s))] * calls
    return Spent(ran, took_s)


def _means_s(request: Any) -> dict[str, tuple[str, float]]:  # noqa: ANN401
    """Return the kind of each node that runs and the mean of its seconds over all calls, by its name."""
    found = [each for each in request.get_profiling_info() if each.status.name == "EXECUTED"]
    return {each.node_name: (each.node_type, each.real_time.total_seconds()) for each in found}
