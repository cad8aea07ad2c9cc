"""What the fixture ``mechanism_benchmark`` does: a cell from what the test asks, its counts, and the timed call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, Protocol

import torch

from attnbench import __version__, devices
from attnbench.devices import attention, environment, names
from attnbench.devices.device import Device
from attnbench.errors import UsageError
from attnbench.models import subject
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plugins import options
from attnbench.plugins.registry import discover
from attnbench.record import Cell, Mode, Scope
from attnbench.worker import torch_state
from attnbench.worker.counts import count
from attnbench.worker.phases import measure_memory
from attnbench.worker.validation import validate


class Benchmark(Protocol):
    """pytest-benchmark's fixture, as far as it is used."""

    extra_info: dict[str, Any]

    def __call__(self, function: Callable[[], object]) -> object:
        """Time a function."""


class MechanismBenchmark:
    """Times mechanisms through pytest-benchmark.

    Example:
        A test has it as a fixture, ``def test_mine(mechanism_benchmark)``; here with what calls once and times nothing.

        >>> class Once:
        ...     extra_info: dict[str, Any] = {}
        ...
        ...     def __call__(self, function: Callable[[], object]) -> object:
        ...         return function()
        >>> mechanism_benchmark = MechanismBenchmark(Once())
        >>> mechanism_benchmark("qna:window=5", "14x14", dim=64, heads=2)
        >>> Once.extra_info["macs"]
        2302608
    """

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark

    def __call__(
        self,
        mechanism: str,
        tokens: str,
        *,
        dim: int,
        heads: int,
        stage: int = 3,
        depth: int = 1,
        batch: int = 1,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "cpu",
        mode: Literal["infer", "train"] = "infer",
        sdpa: Literal["auto", "flash", "efficient", "cudnn", "math"] = "auto",
    ) -> None:
        """Time one call of a stack of layers; on a GPU, until the GPU has finished.

        Parameters, multiply-adds per image and layer, and peak memory go to ``benchmark.extra_info``; what
        ``attnbench report`` needs beside them, under ``attnbench``.

        Args:
            mechanism: a name, ``name:option=value``, or ``FILE.py:Class``.
            tokens: height and width of the map, ``14x14``.
            dim: channels.
            heads: heads.
            stage: stage of the pyramid that the layer is built for, 1 to 4.
            depth: layers in the stack.
            batch: images in a call.
            dtype: type of weights and maps.
            device: ``cpu``, ``cuda``, ``cuda:1``.
            mode: a forward pass without autograd, or forward and backward.
            sdpa: kernel that torch's fused attention may use.

        Raises:
            NoKernelError: that kernel cannot run here.
            PluginError: the mechanism cannot be loaded, or does not keep the contract.
            UsageError: it does not support the site, or there is no such option.
        """
        rows, columns = _size(tokens)
        stride = SWIN_T_SIZED.stride(stage - 1)
        cell = _cell(
            mechanism, scope=Scope.LAYER, height=rows * stride, width=columns * stride, stage=stage, dim=dim,
            heads=heads, depth=depth, batch=batch, dtype=dtype, device=device, mode=Mode(mode), sdpa=sdpa,
            threads=torch.get_num_threads(),
        )  # fmt: skip
        with torch_state.restored():  # the tests beside it keep torch as they had it
            devices.of(cell.device).set_up(threads=cell.threads)
            with attention.allowed(cell.sdpa):
                self._time(cell)

    def _time(self, cell: Cell) -> None:
        asked = subject.of(cell)
        reason = asked.why_unsupported()
        if reason:
            raise UsageError(f"{cell.mechanism} cannot be built {reason}")
        metrics = count(asked)
        torch.manual_seed(0)
        device = devices.of(cell.device)
        model = subject.cast(asked.build().to(device.where), cell.dtype)
        x = asked.example().detach().to(device.where).requires_grad_(cell.mode is Mode.TRAIN)
        validate(model, x)
        metrics |= measure_memory(asked, model, x)
        call = subject.call(cell, model, x, forget=subject.forget(model, x))
        taken = environment.take(threads=cell.threads, device=cell.device).to_dict()
        self._benchmark.extra_info.update(
            params=metrics["params"],
            macs=metrics["macs"],
            memory_peak_bytes=metrics["memory_peak_bytes"],
            attnbench={"version": __version__, "cell": asdict(cell), "metrics": metrics, "environment": taken},
        )
        self._benchmark(_finished(call, device))


def _cell(mechanism: str, **asked: Any) -> Cell:  # noqa: ANN401 - fields of a cell
    name, given = options.split(mechanism)
    plugin = discover().find(name)
    resolved = options.resolve(plugin.load(), given)
    return Cell(mechanism=plugin.name, options=resolved, distribution=plugin.distribution, **asked)


def _finished(call: subject.Call, device: Device) -> subject.Call:
    """Return a call that returns when its device has finished."""
    if device.kind == names.HOST:
        return call

    def synchronized() -> object:
        y = call()
        device.synchronize()
        return y

    return synchronized


def _size(tokens: str) -> tuple[int, int]:
    height, cross, width = tokens.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"{tokens!r} is not a map of tokens; write height and width, such as 14x14")
    return int(height), int(width)
