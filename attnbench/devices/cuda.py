"""NVIDIA's GPUs, and AMD's, which are CUDA devices to torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.backends import cuda, cudnn

from attnbench.devices import amd, gpus, machine
from attnbench.devices.accelerator import Accelerator
from attnbench.devices.clock import EVENTS, Call, Elapsed, Timer
from attnbench.devices.energy import EnergyCounter
from attnbench.devices.figures import State
from attnbench.devices.nvml import Nvml
from attnbench.devices.switch import Switch, attribute, autocast

_IDLE_NS = 50_000
"""Waiting for a device that has nothing left to do takes less."""


class CudaDevice(Accelerator):
    """A CUDA device. What its driver knows is asked of nvidia-smi, or with a build for ROCm of amd-smi."""

    kind = "cuda"
    block_bytes = 512
    ran_out = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    switches = {  # noqa: RUF012 - read only
        "sums in float16": attribute(cuda.matmul, "allow_fp16_reduced_precision_reduction"),
        "sums in bfloat16": attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction"),
        "accumulation in float16": attribute(cuda.matmul, "allow_fp16_accumulation"),
        "autocast on CUDA": autocast("cuda"),
        "cudnn.enabled": attribute(cudnn, "enabled"),
        "cudnn.benchmark": attribute(cudnn, "benchmark"),
        "cudnn.deterministic": attribute(cudnn, "deterministic"),
        "cudnn.allow_tf32": attribute(cudnn, "allow_tf32"),
        "flash attention": Switch(read=cuda.flash_sdp_enabled, write=cuda.enable_flash_sdp),
        "memory-efficient attention": Switch(read=cuda.mem_efficient_sdp_enabled, write=cuda.enable_mem_efficient_sdp),
        "math attention": Switch(read=cuda.math_sdp_enabled, write=cuda.enable_math_sdp),
        "cuDNN attention": Switch(read=cuda.cudnn_sdp_enabled, write=cuda.enable_cudnn_sdp),
    }

    def set_up(self, *, threads: int) -> None:
        """Let float32 mean the same to convolutions as to matrix products.

        Torch lets only the former use TF32, which would time mechanisms by whether their projections are written as
        1 x 1 convolutions. TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 lets both use it.
        """
        super().set_up(threads=threads)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32

    def by_events(self) -> Timer:
        """Return a timer by events of the device."""
        return CudaTimer(self.where)

    def cache_bytes(self) -> int:
        """Return twice the size of its L2 cache."""
        size: int = self._properties().L2_cache_size
        return 2 * size

    def counted(self) -> str:
        """Return what the allocator counts exactly; the driver's asynchronous one does not keep what was asked for."""
        return "requested_bytes" if torch.cuda.get_allocator_backend() == "native" else super().counted()

    @property
    def uuid(self) -> str | None:
        """The name by which nvidia-smi knows it, None where there is no such device."""
        return f"GPU-{self._properties().uuid}" if torch.cuda.is_available() else None

    @property
    def model(self) -> str | None:
        """What torch calls it, None where there is no such device."""
        name: str | None = self._properties().name if torch.cuda.is_available() else None
        return name

    def describe(self, run: machine.Run = machine.run_command) -> machine.Gpu | None:
        """Describe it as torch sees it and nvidia-smi says; None where there is no such device."""
        uuid = self.uuid
        if uuid is None:
            return None
        if torch.version.hip:
            return amd.describe(self._address(), self._properties(), run=run)
        return gpus.describe(uuid, self._properties(), run=run)

    def state(self, run: machine.Run = machine.run_command) -> State:
        """Return temperature, SM clock, memory clock and power, as its maker's tool says them."""
        uuid = self.uuid
        if uuid and torch.version.hip:
            return amd.state(self._address(), run=run)
        said = gpus.query(uuid, "temperature.gpu,clocks.sm,clocks.mem,power.draw", run=run) if uuid else None
        return State(*said) if said else State()

    def pace(self, run: machine.Run = machine.run_command) -> gpus.Pace:
        """Return how fast it goes and what slows it, as its maker's tool says it."""
        if self.uuid and torch.version.hip:
            return amd.pace(self._address(), run=run)
        return gpus.pace(self.uuid, run=run) if self.uuid else super().pace(run)

    def energy_counter(self) -> EnergyCounter:
        """Return the counter of the whole GPU, whoever it works for; the processor that hands it work is not in it."""
        return Nvml(self.uuid) if self.uuid and not torch.version.hip else super().energy_counter()

    def _address(self) -> str:
        """Return where it is on the PCI bus: amd-smi counts GPUs that torch may not be shown."""
        seen = self._properties()
        return f"{seen.pci_domain_id:04x}:{seen.pci_bus_id:02x}:{seen.pci_device_id:02x}.0"

    def _properties(self) -> Any:  # noqa: ANN401 - a class of torch's that has no public name
        return torch.cuda.get_device_properties(self.where)


class CudaTimer:
    """Times work on a CUDA device by a pair of events.

    Every sample starts on an idle device and ends with a synchronisation, which is outside the pair. One
    synchronisation per round would let the work queued by one call hide the launches of the next, so that a call's
    time would depend on who came before it in that round; and an error of the device would be laid on the wrong call.

    The events stand on the current stream, and do not see what a call has put on another one. So once that stream is
    done the whole device is waited for, and what that takes is the call's as well.

    Args:
        device: The device that the calls use.
        cuda: Stands in for ``torch.cuda`` in tests.
        clock: The host's clock, in nanoseconds.
    """

    clock = EVENTS

    def __init__(
        self,
        device: torch.device | str = "cuda",
        *,
        cuda: Any = torch.cuda,  # noqa: ANN401 - a module
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.now_ns = clock
        self.shortest_ns = 50_000  # events resolve about half a microsecond
        # Held from before a plugin's calls, which may find others in their places.
        self._event, self._stream, self._wait = cuda.Event, cuda.current_stream, cuda.synchronize
        self._device = device

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times in a row and return the device's time between the events."""
        start, end = self._event(enable_timing=True), self._event(enable_timing=True)
        stream = self._stream(self._device)
        start.record(stream)
        host_start = self.now_ns()
        for _ in range(repeats):
            call()
        host_end = self.now_ns()
        end.record(stream)
        end.synchronize()
        drained = self.now_ns()
        self._wait(self._device)
        elsewhere = self.now_ns() - drained
        ns = round(start.elapsed_time(end) * 1e6) + (elsewhere if elsewhere > _IDLE_NS else 0)
        return Elapsed(ns=ns, host_ns=host_end - host_start)
