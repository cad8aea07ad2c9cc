"""A pytest plugin over pytest-benchmark: ``mechanism_benchmark`` times a mechanism in a test of anyone's.

    @pytest.mark.parametrize("size", ["14x14", "28x28"])
    def test_speed(mechanism_benchmark, size):
        mechanism_benchmark("mine", size, dim=96, heads=3)

Every run of pytest imports this module where attnbench is installed: it imports no torch, and needs pytest-benchmark
only when the fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import pytest

from attnbench.devices import names

if TYPE_CHECKING:
    from attnbench.pytest_bridge.call import MechanismBenchmark


@pytest.fixture
def mechanism_benchmark(request: pytest.FixtureRequest) -> MechanismBenchmark:
    """Time a mechanism at one site: see ``attnbench.pytest_bridge.call.MechanismBenchmark.__call__``."""
    if not request.config.pluginmanager.hasplugin("benchmark"):
        pytest.fail("mechanism_benchmark needs pytest-benchmark: pip install pytest-benchmark", pytrace=False)
    from attnbench.pytest_bridge.call import MechanismBenchmark  # noqa: PLC0415 - torch
    from attnbench.pytest_bridge.timed import Bounds  # noqa: PLC0415

    marker, option = request.node.get_closest_marker("benchmark"), request.config.option
    asked = {
        "min_rounds": option.benchmark_min_rounds, "max_time": option.benchmark_max_time,
        **(marker.kwargs if marker else {}),
    }  # fmt: skip
    bounds = Bounds(min_rounds=int(asked["min_rounds"]), max_time_s=float(asked["max_time"]))
    return MechanismBenchmark(request.getfixturevalue("benchmark"), bounds)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: MutableMapping[str, Any]) -> None:
    """Name the GPU and torch, in runs that have torch loaded; what changes from run to run is left out."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    machine_info["torch"] = torch.__version__
    from attnbench import devices  # noqa: PLC0415 - what a run of pytest without the fixture does not need

    machine_info["gpu"] = devices.of(names.preferred(devices.present())).model
