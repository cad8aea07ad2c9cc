"""The GPU's counter of energy, with a binding made by hand."""

import sys

import pytest

from attnbench.devices.energy import NoCounterError
from attnbench.devices.nvml import Nvml


class FakeNvml:
    """What is used of ``pynvml``."""

    class NVMLError(Exception):
        """Not Supported, Driver Not Loaded and the like."""

    def __init__(self, *, supported: bool = True) -> None:
        self.millijoules = 5_000
        self.supported = supported
        self.started = False

    def nvmlInit(self) -> None:  # noqa: N802
        self.started = True

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != "GPU-1":
            raise self.NVMLError("Not Found")
        return f"handle of {uuid}"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        assert self.started
        assert handle == "handle of GPU-1"
        if not self.supported:
            raise self.NVMLError("Not Supported")
        return self.millijoules


def test_energy_is_in_joules() -> None:
    nvml = FakeNvml()
    counter = Nvml("GPU-1", nvml)
    before = counter.read_j()
    nvml.millijoules += 2_500
    assert counter.read_j() - before == pytest.approx(2.5)
    assert counter.name == "NVML total energy of the GPU"


@pytest.mark.parametrize(
    ("uuid", "nvml", "said"),
    [("GPU-1", FakeNvml(supported=False), "NVML: Not Supported"), ("GPU-2", FakeNvml(), "NVML: Not Found")],
)
def test_a_gpu_without_a_counter_says_so(uuid: str, nvml: FakeNvml, said: str) -> None:
    with pytest.raises(NoCounterError, match=said):
        Nvml(uuid, nvml)


def test_without_the_binding_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NoCounterError, match=r"pip install attnbench\[energy\]"):
        Nvml("GPU-1")
