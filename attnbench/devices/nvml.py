"""The energy counter of NVIDIA's GPUs, by NVIDIA's own binding: ``pip install attnbench[energy]``. Imports no torch."""

from __future__ import annotations

import importlib
from typing import Any

from attnbench.devices.energy import NoCounterError

_MILLI = 1e-3


class Nvml:
    """The energy of one GPU, all that is on its board included, since its driver was loaded.

    Args:
        uuid: The GPU's, as nvidia-smi writes it.
        module: Stands in for ``pynvml`` in tests.

    Raises:
        NoCounterError: the binding is not installed, or the GPU has no such counter, as those before Volta.
    """

    def __init__(self, uuid: str, module: Any = None) -> None:  # noqa: ANN401 - a module
        self._nvml = module or _binding()
        try:
            self._nvml.nvmlInit()
            self._gpu = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
        except self._nvml.NVMLError as error:
            raise NoCounterError(f"NVML: {error}") from None
        self.name = "NVML total energy of the GPU"
        self.read_j()

    def read_j(self) -> float:
        """Return the energy since the driver was loaded, in joules. Drivers renew it every 20 to 100 ms."""
        try:
            millijoules: int = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)
        except self._nvml.NVMLError as error:
            raise NoCounterError(f"NVML: {error}") from None
        return millijoules * _MILLI


def _binding() -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        raise NoCounterError("the GPU's energy is read by nvidia-ml-py: pip install attnbench[energy]") from None
