"""ONNX Runtime, on the processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnbench.axes import INT8
from attnbench.child.scratch import scratch
from attnbench.record import Cell
from attnbench.runtimes import onnx, ort_int8
from attnbench.runtimes.runtime import Forward, Prepared, Runtime, blamed_on

_QUIET = 4
"""Only what ends the process is logged; all else is raised too."""


class OnnxRuntime(Runtime):
    """Runs ONNX with all of its graph's optimisations."""

    name = "onnxruntime"
    extra = "attnbench[onnxruntime]"
    needs = ("onnxruntime", *onnx.NEEDS)
    dtypes = frozenset({"float32", "float16", INT8})

    def prepare(self, model: nn.Module, x: Tensor, *, cell: Cell) -> Prepared:
        """Export a module and open a session with it."""
        with scratch() as folder:
            path = onnx.write(model, x, folder)
            with blamed_on("ONNX Runtime does not take it"):
                session = _session(path, threads=cell.threads)
        remark = "" if cell.dtype == "float32" else f"{cell.dtype} where it has a kernel of that type, else float32"
        return Prepared(forward=_forward(session), export=onnx.WHOLE, remark=remark)

    def quantize(self, model: nn.Module, x: Tensor, *, cell: Cell, samples: Sequence[Tensor]) -> Prepared:
        """Export a module, quantise the graph, and open a session with that."""
        with scratch() as folder:
            path = onnx.write(model, x, folder)
            with blamed_on("ONNX Runtime does not quantise it"):
                quantized = ort_int8.write(path, samples)
                session = _session(quantized.path, threads=cell.threads)
        return Prepared(forward=_forward(session), export=onnx.WHOLE, remark=quantized.said)


def _session(path: Path, *, threads: int) -> Any:  # noqa: ANN401 - the package has no types
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # Its threads spin for the next call otherwise, which is another cell's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _forward(session: Any) -> Forward:  # noqa: ANN401
    run: Callable[..., list[Any]] = session.run
    (name,) = (each.name for each in session.get_inputs())

    def forward(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = tuple(map(torch.from_numpy, run(None, {name: x.numpy()})))
        return outputs if len(outputs) > 1 else outputs[0]

    return forward
