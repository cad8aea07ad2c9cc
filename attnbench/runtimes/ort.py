"""ONNX Runtime, on the processor."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnbench.axes import INT8
from attnbench.child.scratch import scratch
from attnbench.record import Cell
from attnbench.runtimes import onnx, ort_int8
from attnbench.runtimes.exports import Export, exported
from attnbench.runtimes.runtime import WARM_UP, Forward, Prepared, Runtime, Spent, blamed_on

_KERNEL, _US = "_kernel_time", 1e-6
"""End of the names of what its profiles say of an operator, and their unit in seconds."""
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
        with exported(model, x, cell=cell, kept=self.exports) as export, blamed_on("ONNX Runtime does not take it"):
            watched = _Watched() if self.watches else None
            session = _session(export.path, cell.threads, watched)
        remark = "" if cell.dtype == "float32" else f"{cell.dtype} where it has a kernel of that type, else float32"
        return _taken_over(session, remark, watched, export)

    def quantize(self, model: nn.Module, x: Tensor, *, cell: Cell, samples: Sequence[Tensor]) -> Prepared:
        """Export a module, quantise the graph, and open a session with that."""
        with exported(model, x, cell=cell, kept=self.exports) as export, blamed_on("ONNX Runtime does not quantise it"):
            quantized = ort_int8.write(export.path, samples)
            watched = _Watched() if self.watches else None
            session = _session(quantized.path, cell.threads, watched, left_out=quantized.left_out)
        return _taken_over(session, quantized.said, watched, export)


class _Watched:
    """Where a session writes what it runs, until it is told to end."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self.prefix = str(self._held.enter_context(scratch()) / "ort")

    def spent(self, session: Any, forward: Forward, x: Tensor, calls: int) -> Spent:  # noqa: ANN401 - no types
        """Make some calls and return what ran in them; the session writes nothing more then."""
        for _ in range(WARM_UP):
            forward(x)
        started = time.perf_counter()
        for _ in range(calls):
            forward(x)
        took_s = time.perf_counter() - started
        with self._held:
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        first = sorted(each["ts"] for each in events if each["name"] == "model_run")[-calls]
        ran = [each for each in events if each["name"].endswith(_KERNEL) and each["ts"] >= first]
        return Spent([(str(each["args"]["op_name"]), each["dur"] * _US) for each in ran], took_s)


def _taken_over(session: Any, remark: str, watched: _Watched | None, export: Export) -> Prepared:  # noqa: ANN401
    forward = _forward(session)
    spent = partial(watched.spent, session, forward) if watched else None
    return Prepared(forward=forward, export=onnx.WHOLE, remark=remark, spent=spent, spared_s=export.spared_s)


def _session(path: Path, threads: int, watched: _Watched | None, *, left_out: Sequence[str] = ()) -> Any:  # noqa: ANN401
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    if watched:
        options.enable_profiling = True
        options.profile_file_prefix = watched.prefix
    # Its threads spin for the next call otherwise, which is another cell's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), options, providers=providers, disabled_optimizers=list(left_out))


def _forward(session: Any) -> Forward:  # noqa: ANN401
    run: Callable[..., list[Any]] = session.run
    (name,) = (each.name for each in session.get_inputs())

    def forward(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = tuple(map(torch.from_numpy, run(None, {name: x.numpy()})))
        return outputs if len(outputs) > 1 else outputs[0]

    return forward
