"""The memory that a call would take, without taking it: the reason to refuse a cell before it starts.

The module runs on fake tensors, which have a shape and a device and no data, while a ledger adds up what their
storages would hold. Composite operators choose their kernels as they would for real: attention on a CPU is fused.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attnbench import devices
from attnbench.devices import names
from attnbench.devices.device import Device
from attnbench.errors import AttnbenchError
from attnbench.probes.weightless import Build, Inputs, build_on_meta, replace_tensors
from attnbench.record import Mode


class NoEstimateError(AttnbenchError):
    """A module cannot be run without data, so that its memory cannot be estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What a call would hold."""

    parameters_bytes: int
    """Parameters and buffers, each storage once."""
    inputs_bytes: int
    peak_bytes: int
    """Most bytes in tensors at one time beyond parameters and inputs: what ``attnbench.probes.memory.peak`` measures,
    less what kernels take for themselves."""

    @property
    def total_bytes(self) -> int:
        """All that must fit on the device at one time."""
        return self.parameters_bytes + self.inputs_bytes + self.peak_bytes


def estimate(build: Build, *, mode: Mode, device: torch.device | str) -> MemoryEstimate:
    """Estimate the memory of one call: a forward pass without autograd, or forward and backward with all gradients.

    Takes well under a second and no memory to speak of, also where the module would need terabytes. Not estimated
    is what kernels take while they run (oneDNN's copies of maps and weights, up to half of the peak of a convolution;
    cuBLAS's and cuDNN's workspaces), an optimiser's state, and what a compiled module saves. For an accelerator
    the machine must have one: which attention kernel is chosen is asked of the driver.

    Args:
        build: returns the module and the inputs of one call; see ``weightless.Build``.
        mode: what the call does.
        device: where it would run.

    Raises:
        NoEstimateError: the module reads values of its tensors, has kernels that torch does not know, such as
            Triton's, or is faulty: a run tells.
    """
    model, inputs = build_on_meta(build)
    model.train(mode is Mode.TRAIN)
    on = devices.of(str(device))
    where = on.where
    if where.type != names.HOST:
        # A backward pass over fake tensors needs a device in use. torch 2.15 (fake_tensor.py, init_gpu_context) means
        # to see to it, but compares a device with a string.
        torch.empty(1, device=where)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            replace_tensors(model, lambda tensor: _fake(tensor, where))
            inputs = tuple(_fake(each, where) for each in inputs)
            return _run(model, inputs, mode, _Ledger(on))
    except Exception as error:  # a foreign module can fail without data in any way
        raise NoEstimateError(f"memory cannot be estimated: without data, {type(error).__name__}: {error}") from error


def _run(model: nn.Module, inputs: Inputs, mode: Mode, ledger: _Ledger) -> MemoryEstimate:
    ledger.enter([*model.parameters(), *model.buffers()])
    parameters = ledger.live
    ledger.enter(inputs)
    before = ledger.live
    gc.collect()
    with ledger, torch.set_grad_enabled(mode is Mode.TRAIN):
        output = model(*inputs)
        if mode is Mode.TRAIN:
            results = [each for each in tree_leaves(output) if isinstance(each, Tensor) and each.requires_grad]
            torch.autograd.backward(results, [torch.ones_like(each) for each in results])
    return MemoryEstimate(
        parameters_bytes=parameters, inputs_bytes=before - parameters, peak_bytes=ledger.peak - before
    )


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operators return, from their first sight until nothing holds them any more."""

    def __init__(self, device: Device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._device = device
        self._known: set[int] = set()

    def enter(self, values: Any) -> None:  # noqa: ANN401 - whatever an operator returns
        """Note the storages of all tensors in ``values`` that are not known yet."""
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and value.device.type == self._device.where.type:
                self._add(value.untyped_storage())
        self.peak = max(self.peak, self.live)

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)  # one Python object per storage, for as long as the storage lives
        if key in self._known:
            return
        block = self._device.block_bytes
        size = -(-storage.nbytes() // block) * block
        self._known.add(key)
        self.live += size
        weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._known.remove(key)
        self.live -= size

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        self.enter(out)
        return out


def _fake(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the same shape that claims to be on a device; made under a FakeTensorMode."""
    fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    return fake.requires_grad_(tensor.requires_grad)
