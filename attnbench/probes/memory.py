"""Peak memory of a call and the memory it saves for a backward pass. Its own pass, never the timed one."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.autograd.profiler import profile, record_function

Call = Callable[[], object]

_RAN_OUT = (
    *("can't allocate memory", "CUDA error: out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)
"""What torch says of memory that it did not ask its own allocators for."""
_MARK = "attnbench: the measured call"
_ALLOCATION = "[memory]"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPeak:
    """Most memory that a call held at one time.

    None where the device's allocator keeps no such figure.
    """

    peak_bytes: int
    """Most bytes in live tensors at one time, beyond what was live when the call began: its temporaries and its
    output, and for a training step what is saved for backward and the gradients; not parameters and inputs."""
    absolute_bytes: int | None = None
    """Most bytes in live tensors at one time, everything on the device included (CUDA)."""
    reserved_bytes: int | None = None
    """Most bytes that the caching allocator held from the device (CUDA)."""


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that there was not enough memory, be it the machine's or a device's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in str(error) for said in _RAN_OUT)


def peak(call: Call, *, device: torch.device | str, forget: Call = lambda: None) -> MemoryPeak:
    """Measure the peak memory of one call, after a first one that fills lazy buffers and workspaces.

    The figure is deterministic: the garbage collector runs before the call and not during it.

    On a CPU it is exact and counts every tensor and every block that torch's kernels take from torch's allocator,
    oneDNN's reordered copies and scratchpads included. It does not see what libraries take from the system
    themselves (packing buffers of a BLAS, stacks), nor what is allocated in threads other than the calling one.
    Backward on a CPU runs in the calling thread; torch's own kernels allocate before they go parallel.

    On CUDA it is what was asked of the caching allocator, workspaces of cuDNN included. What the allocator counts as
    handed out is whole blocks, up to 1 MiB larger each, and how they are cut depends on what else the process holds.

    Args:
        call: what is measured; what it returns counts until it has returned.
        device: where it runs.
        forget: drops what a call leaves behind, such as gradients, so that the next call's own count.
    """
    where = torch.device(device)
    measure = _peak_on_cuda if where.type == "cuda" else _peak_on_cpu
    return measure(call, where, forget)


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


def _peak_on_cuda(call: Call, device: torch.device, forget: Call) -> MemoryPeak:
    call()
    forget()
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()  # leftovers of earlier calls would change how blocks are cut
    counted = f"{_counted()}.all"
    baseline: int = torch.cuda.memory_stats(device)[f"{counted}.current"]
    torch.cuda.reset_peak_memory_stats(device)
    with _no_collection():
        call()
    torch.cuda.synchronize(device)
    absolute: int = torch.cuda.memory_stats(device)[f"{counted}.peak"]
    return MemoryPeak(
        peak_bytes=absolute - baseline,
        absolute_bytes=absolute,
        reserved_bytes=torch.cuda.max_memory_reserved(device),
    )


def _counted() -> str:
    """Name what the allocator counts exactly; the driver's asynchronous one does not keep what was asked for."""
    return "requested_bytes" if torch.cuda.get_allocator_backend() == "native" else "allocated_bytes"


def _peak_on_cpu(call: Call, _: torch.device, forget: Call) -> MemoryPeak:
    def measured() -> None:
        with record_function(_MARK):
            call()

    changes = _allocations(lambda: (call(), forget(), gc.collect()), measured)
    return MemoryPeak(peak_bytes=max(accumulate(changes, initial=0)))


def _allocations(before: Call, measured: Call) -> list[int]:
    """Return the bytes of every allocation (positive) and release (negative) within ``measured``, in order.

    Both calls are profiled: torch knows the size of a released block only if it saw it allocated. What
    torch documents are sums per operator; single events are only in the profiler's private results.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports each start and stop on stderr
    with profile(use_kineto=True, profile_memory=True) as profiler:
        before()
        with _no_collection():
            measured()
    assert profiler.kineto_results is not None
    events = sorted(profiler.kineto_results.events(), key=lambda event: event.start_ns())
    start = next(event.start_ns() for event in events if event.name() == _MARK)
    return [event.nbytes() for event in events if event.name() == _ALLOCATION and event.start_ns() >= start]


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
