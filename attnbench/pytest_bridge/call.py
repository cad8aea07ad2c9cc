"""What the fixture ``mechanism_benchmark`` does: a cell from what the test asks, its counts, and the timed call."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final, Literal

import torch

from attnbench import __version__, devices
from attnbench.devices import environment
from attnbench.errors import PluginError, UsageError
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.plugins import options
from attnbench.plugins.registry import discover
from attnbench.pytest_bridge.timed import Benchmark, Bounds, time_and_judge
from attnbench.record import Cell, Mode, Scope, Status, Value
from attnbench.runs.job import Assignment, Settings, foreign
from attnbench.worker import torch_state
from attnbench.worker.phases import prepare
from attnbench.worker.ready import Ready, Unmeasurable
from attnbench.worker.surroundings import Surroundings, World

_USUAL: Final = Bounds()
_WORLDS: dict[str, World] = {}
"""What loading and building a mechanism has changed for everyone. A module is loaded once in a process, and what it
sets up then is put back after each test, so that the tests of others do not find it."""


class MechanismBenchmark:
    """Times mechanisms through pytest-benchmark.

    Example:
        A test has it as a fixture, ``def test_mine(mechanism_benchmark)``; here with what calls once and times nothing.

        >>> class Once:
        ...     extra_info: dict[str, Any] = {}
        ...
        ...     def pedantic(self, target, *, setup, rounds):
        ...         setup(), target()
        >>> mechanism_benchmark = MechanismBenchmark(Once())
        >>> mechanism_benchmark("qna:window=5", "14x14", dim=64, heads=2)
        >>> Once.extra_info["macs"]
        2302608
    """

    def __init__(self, benchmark: Benchmark, bounds: Bounds = _USUAL) -> None:
        self._benchmark = benchmark
        self._bounds = bounds

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
        dtype: Literal["float32", "bfloat16", "float16", "int8"] = "float32",
        device: str = "cpu",
        mode: Literal["infer", "train"] = "infer",
        runtime: str = "torch",
        sdpa: Literal["auto", "flash", "efficient", "cudnn", "math"] = "auto",
        autocast: Literal["off", "bfloat16", "float16"] = "off",
        cache: Literal["cold", "warm"] = "cold",
    ) -> None:
        """Time one call of a stack of layers; on a GPU, until the GPU has finished.

        Each call gets new values, made outside its timed part, and finds the caches as asked. What some of them
        returned is compared with what an untouched copy gives in another process, as ``attnbench run`` does: figures
        that cannot be true fail the test, and what something speaks against is warned of.

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
            dtype: type of weights and maps; ``int8`` as the runtime quantises a layer of float32.
            device: ``cpu``, ``cuda``, ``cuda:1``.
            mode: a forward pass without autograd, or forward and backward.
            runtime: what runs the layer, ``torch`` or a runtime that it is exported to.
            sdpa: kernel that torch's fused attention may use.
            autocast: type that torch casts to within the call.
            cache: what the device's caches hold before a call, other data or what the layer's own call has left.

        Raises:
            PluginError: the mechanism cannot be loaded, does not keep the contract, or is not what it is timed as.
            UsageError: it does not support the site, that kernel cannot run here, or there is no such option.
        """
        rows, columns = _size(tokens)
        stride = SWIN_T_SIZED.stride(stage - 1)
        with torch_state.restored(), _settled_after(mechanism) as house:  # the tests beside it find all as they had it
            cell = _cell(
                mechanism, scope=Scope.LAYER, height=rows * stride, width=columns * stride, stage=stage, dim=dim,
                heads=heads, depth=depth, batch=batch, dtype=dtype, device=device, mode=Mode(mode), sdpa=sdpa,
                runtime=runtime, autocast=autocast, cache=cache, threads=torch.get_num_threads(),
            )  # fmt: skip
            devices.of(cell.device).set_up(threads=cell.threads)
            self._time(mechanism, cell, house)

    def _time(self, mechanism: str, cell: Cell, house: Surroundings | None) -> None:
        learned: dict[str, Value] = {}
        one = _prepared(cell, house, learned)
        if house:
            _WORLDS[mechanism] = one.world
        noted = {
            "version": __version__,
            "cell": asdict(cell),
            "environment": environment.take(threads=cell.threads, device=cell.device).to_dict(),
        }
        found = learned | one.found
        self._benchmark.extra_info.update(
            params=found["params"],
            macs=found["macs"],
            memory_peak_bytes=found.get("memory_peak_bytes"),
            attnbench=noted | {"metrics": found},
        )
        status, reason, judged = time_and_judge(self._benchmark, one, bounds=self._bounds, house=house)
        noted |= {"metrics": found | judged, "status": status.value, "reason": reason}
        self._benchmark.extra_info["attnbench"] = noted
        if status is not Status.OK:
            raise PluginError(f"{cell.mechanism} from {cell.distribution}: {status}: {reason}")
        if judged.get("suspicious"):
            warnings.warn(f"{cell.mechanism} from {cell.distribution}: {judged['suspicious']}", stacklevel=3)


def _prepared(cell: Cell, house: Surroundings | None, learned: dict[str, Value]) -> Ready:
    """Take a cell through the phases before the timing, and add to what is learned of it.

    Raises:
        PluginError: its mechanism does not keep the contract, or would not fit into memory.
        UsageError: it does not support the site.
    """

    def learn(_: str, metrics: Mapping[str, Value]) -> None:
        learned.update(metrics)

    # Nothing of others is timed beside it, so that what it leaves behind is said and ends nothing.
    assignment = Assignment(cell=cell, apart="in a test")
    try:
        return prepare(0, assignment, Settings(), lambda _: None, learn, held_bytes=0, house=house)
    except Unmeasurable as outcome:
        if outcome.status is Status.UNSUPPORTED:
            raise UsageError(f"{cell.mechanism} cannot be timed: {outcome.reason}") from None
        raise PluginError(f"{cell.mechanism} from {cell.distribution}: {outcome.reason}") from None


@contextmanager
def _settled_after(mechanism: str) -> Iterator[Surroundings | None]:
    """Within, the process is as a mechanism has made it; None where that is nobody's but ours."""
    name, _ = options.split(mechanism)
    if not foreign(discover().find(name).distribution):
        yield None
        return
    torch.ones(2**20).sum()  # torch's threads are nobody's leftovers
    house = Surroundings()
    _WORLDS.get(mechanism, World()).put_on()
    try:
        yield house
    finally:
        house.settle()


def _cell(mechanism: str, **asked: Any) -> Cell:  # noqa: ANN401 - fields of a cell
    name, given = options.split(mechanism)
    plugin = discover().find(name)
    resolved = options.resolve(plugin.load(), given)
    return Cell(mechanism=plugin.name, options=resolved, distribution=plugin.distribution, **asked)


def _size(tokens: str) -> tuple[int, int]:
    height, cross, width = tokens.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"{tokens!r} is not a map of tokens; write height and width, such as 14x14")
    return int(height), int(width)
