"""Fingerprint of the machine and the software, taken inside the worker. Imports torch.

What a latency may depend on is hashed into ``environment_id``; latencies are compared only where the ids are equal.
Not hashed: the state of the moment, and which attnbench ran, since comparing two versions of it is what ids are for.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from attnbench import __version__, devices
from attnbench.devices import checkout, identity, machine
from attnbench.devices.device import Device

Value = str | int | float | bool | None
Facts = Mapping[str, Value]

_PACKAGES = ("numpy", "timm", "fvcore", "triton")
_LIBRARIES = (
    "ATEN_", "CUBLAS", "CUDA_", "CUDNN_", "DNNL_", "GLIBC_TUNABLES", "GOMP_", "HIP_", "HSA_", "KMP_", "LD_PRELOAD",
    "MALLOC_", "MIOPEN_", "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "ROCBLAS_",
    "TORCHDYNAMO_", "TORCHINDUCTOR_", "TORCH_", "TRITON_",
)  # fmt: skip
"""How the variables begin by which torch and the libraries under it are told how to work."""
_NOT_SPEED = re.compile(
    r"CUDA_(HOME|PATH.*|ROOT|VERSION|VISIBLE_DEVICES|DEVICE_ORDER)|CUDNN_(PATH|ROOT|VERSION)|MKL_(ROOT|VERBOSE)"
    r"|.*_(INCLUDE|LIBRARY)(_DIR|_PATH)?|PYTORCH_(VERSION|BUILD_.*)|HIP_(PATH|VISIBLE_DEVICES)|TRITON_(CACHE|HOME|DUMP)_?.*"
    r"|TORCH_(HOME|LOGS.*|EXTENSIONS_DIR|CUDA_ARCH_LIST|SHOW_.*|DISABLE_ADDR2LINE|CPP_LOG_LEVEL)|TORCHINDUCTOR_CACHE_DIR"
    r"|KMP_(DUPLICATE_LIB_OK|INIT_AT_FORK)|CUDA_MODULE_LOADING"
)
"""Those that say where things are, what is printed, or which device is meant, which a fingerprint has by its name;
and those in the last line, which torch sets itself, in some processes sooner than in others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where and with what something was measured."""

    cpu: machine.Cpu
    gpu: machine.Gpu | None
    """What was measured on, None where that is the processor."""
    memory_gib: int
    """Main memory, rounded: kernels keep a varying little for themselves."""
    software: Facts
    """Operating system, Python, torch and its libraries: versions, and a digest of how torch was built."""
    flags: Facts
    """Threads, and every switch of torch that trades speed for precision or repeatability."""
    variables: Facts
    """Those environment variables of torch and its libraries that change speed and are set."""
    code: Facts
    """attnbench's version, commit, and whether its tree was clean, results/ aside; None outside a checkout. In a row
    also the commit of the project that the run was started in, its date, and whether that was clean."""
    state: Facts
    """What changes from minute to minute: load, clocks, temperature, the cores allowed, the time."""

    @property
    def environment_id(self) -> str:
        """Hash of everything but ``code`` and ``state``, 12 hexadecimal digits."""
        return identity.environment_id(asdict(self))

    def to_dict(self) -> dict[str, object]:
        """Return it for JSON, with the id, the hardware's name and torch's version beside the parts."""
        return {
            "environment_id": self.environment_id,
            "hardware": hardware_name(self),
            "torch_version": self.software["torch"],
            **asdict(self),
        }


def take(
    *, threads: int, device: str = "cpu", root: Path = machine.ROOT, run: machine.Run = machine.run_command
) -> Environment:
    """Take the fingerprint of this process. What cannot be found out is None; nothing is raised for it.

    Args:
        threads: Intra-op threads that the measurement uses.
        device: What it runs on; an accelerator is looked at only where it is that, since looking starts it.
        root: Root of the file system to read from.
        run: Runs nvidia-smi, sysctl and git.
    """
    where = devices.of(device)
    return Environment(
        cpu=machine.cpu(root, run=run),
        gpu=where.describe(run),
        memory_gib=round(machine.memory_bytes() / 2**30),
        software=_software(),
        flags={**_flags(threads), **where.flags()},
        variables=_variables(),
        code={"attnbench": __version__, **checkout.own(Path(__file__).parent, run)},
        state=_state(where, root, run),
    )


def hardware_name(environment: Environment) -> str:
    """Return what a person calls the machine: the GPU if one was measured, else the processor with its cores."""
    return str(identity.hardware(asdict(environment)))


def _software() -> Facts:
    backends: Any = torch.backends  # torch leaves most of it untyped
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_build": hashlib.sha256(torch.__config__.show().encode()).hexdigest()[:12],
        "cpu_capability": backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "cudnn": _flag(backends.cudnn.version),
        **{name: _version(name) for name in _PACKAGES},
    }


def _variables() -> Facts:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_LIBRARIES) and not _NOT_SPEED.fullmatch(name)
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _flags(threads: int) -> Facts:
    backends: Any = torch.backends  # torch leaves most of it untyped
    cuda, cudnn = backends.cuda, backends.cudnn
    return {
        "threads": threads,
        "interop_threads": torch.get_num_interop_threads(),
        "matmul_precision": _flag(torch.get_float32_matmul_precision),
        "matmul_tf32": _flag(lambda: cuda.matmul.allow_tf32),
        "matmul_fp16_reduced_sums": cuda.matmul.allow_fp16_reduced_precision_reduction,
        "matmul_bf16_reduced_sums": cuda.matmul.allow_bf16_reduced_precision_reduction,
        "matmul_fp16_accumulation": cuda.matmul.allow_fp16_accumulation,
        "cudnn_tf32": _flag(lambda: cudnn.allow_tf32),
        "cudnn_enabled": cudnn.enabled,
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_deterministic": cudnn.deterministic,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": backends.mkldnn.enabled,
        "sdpa_flash": cuda.flash_sdp_enabled(),
        "sdpa_efficient": cuda.mem_efficient_sdp_enabled(),
        "sdpa_cudnn": cuda.cudnn_sdp_enabled(),
        "sdpa_math": cuda.math_sdp_enabled(),
    }


def _flag(read: Callable[[], Value]) -> Value:
    """Read a flag, None where torch refuses: TF32 set by its newer interface, a cuDNN of another version."""
    try:
        return read()
    except RuntimeError:
        return None


def _state(device: Device, root: Path, run: machine.Run) -> Facts:
    now = device.state(run)
    cores = machine.usable_cores()
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],
        "cores_allowed": ",".join(map(str, sorted(cores))),
        "cpu_mhz": machine.cpu_mhz(cores, root),
        "gpu_uuid": device.uuid,
        "gpu_temperature_celsius": now.temperature,
        "gpu_clock_sm": now.clock,
        "gpu_clock_memory": now.memory_clock,
        "gpu_power": now.power,
    }
