"""Peak memory of a call and the memory it saves for a backward pass. Its own pass, never the timed one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from attnbench import devices, inert
from attnbench.devices.clock import Call
from attnbench.devices.figures import MemoryPeak


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that there was not enough memory, be it the machine's or a device's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = inert.brief(error, most=10_000)
    return any(said in text for kind in devices.kinds() for said in kind.ran_out)


def peak(call: Call, *, device: torch.device | str, forget: Call = lambda: None) -> MemoryPeak:
    """Measure the peak memory of one call, after a first one that fills lazy buffers and workspaces.

    The figure is deterministic: the garbage collector runs before the call and not during it.

    What is counted is the device's own affair: see ``peak`` of ``attnbench.devices.cpu`` and ``accelerator``.

    Args:
        call: what is measured; what it returns counts until it has returned.
        device: where it runs.
        forget: drops what a call leaves behind, such as gradients, so that the next call's own count.
    """
    return devices.of(str(device)).peak(call, forget)


def saved_for_backward(call: Call, *, exclude: Iterable[Tensor] = ()) -> int:
    """Return the bytes that a forward pass keeps for its backward pass, on any device.

    Each storage counts once and in full, however many views of it are saved. What a custom autograd function
    keeps as an attribute instead of with ``save_for_backward`` is not seen, nor are numbers and shapes, nor what
    ``torch.utils.checkpoint`` drops and computes again.

    Args:
        call: runs the forward pass; it must not run the backward pass.
        exclude: tensors that live anyway, such as parameters and inputs; their views are left out as well.
    """
    known = {each.untyped_storage().data_ptr() for each in exclude}
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage  # held, so that no later tensor gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return sum(storage.nbytes() for storage in saved.values())
