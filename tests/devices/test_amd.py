"""AMD's GPUs as amd-smi tells of them: a program that stands in for it, in the forms that its releases print."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from attnbench import devices
from attnbench.devices import amd
from attnbench.devices.machine import run_command

ADDRESS = "0000:0c:00.0"
SEEN = SimpleNamespace(
    name="AMD Instinct MI300X", major=9, minor=4, total_memory=192 * 2**30, multi_processor_count=304,
    pci_domain_id=0, pci_bus_id=12, pci_device_id=0, uuid="0abc", L2_cache_size=2**22,
)  # fmt: skip


def watts(value: float) -> dict[str, object]:
    return {"value": value, "unit": "W"}


def mhz(value: float) -> dict[str, object]:
    return {"value": value, "unit": "MHz"}


TOLD = {
    "gpu": 3,
    "driver": {"name": "amdgpu", "version": "6.12.12"},
    "limit": {"max_power": watts(750), "socket_power": watts(600)},
    "temperature": {"edge": "N/A", "hotspot": {"value": 47, "unit": "C"}, "mem": {"value": 40, "unit": "C"}},
    "power": {"socket_power": watts(251), "gfx_voltage": "N/A"},
    "clock": {
        "gfx_0": {"clk": mhz(1050), "min_clk": mhz(132), "max_clk": mhz(2100), "deep_sleep": "DISABLED"},
        "gfx_1": {"clk": mhz(1575), "min_clk": mhz(132), "max_clk": mhz(2100), "deep_sleep": "DISABLED"},
        "gfx_2": {"clk": "N/A", "min_clk": "N/A", "max_clk": "N/A", "deep_sleep": "N/A"},
        "mem_0": {"clk": mhz(900), "min_clk": mhz(900), "max_clk": mhz(1300), "deep_sleep": "DISABLED"},
    },
    "throttle": {"ppt_violation_status": "ACTIVE", "socket_thermal_violation_status": "NOT ACTIVE"},
}


@pytest.fixture
def amd_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, and the file with what it prints and whether it ends well."""
    program, printed = tmp_path / "amd-smi", tmp_path / "printed"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        f"pathlib.Path({str(tmp_path / 'asked')!r}).write_text(' '.join(sys.argv[1:]))\n"
        f"print(pathlib.Path({str(printed)!r}).read_text())\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return printed


@pytest.mark.parametrize("form", [lambda told: [told], lambda told: {"gpu_data": [told]}])
def test_its_facts_are_read_in_both_forms(amd_smi: Path, form) -> None:
    amd_smi.write_text(json.dumps(form(TOLD)))
    found = amd.describe(ADDRESS, SEEN, run=run_command)
    assert (found.name, found.compute_capability, found.memory) == ("AMD Instinct MI300X", "9.4", "196608 MiB")
    assert (found.driver, found.power_limit) == ("6.12.12", "600 W"), "the limit that is set, not the highest"
    assert (found.clock_max_sm, found.clock_max_memory) == ("2100 MHz", "1300 MHz")
    assert amd.state(ADDRESS, run=run_command) == ("47 C", "1575 MHz", "900 MHz", "251 W")
    pace = amd.pace(ADDRESS, run=run_command)
    assert (pace.clock_fraction, pace.slowed_by, pace.slowed_s) == (0.75, ("its power cap",), None)
    assert (amd_smi.parent / "asked").read_text() == f"metric --gpu {ADDRESS} --clock --throttle --json"


def test_a_clock_that_is_asleep_is_no_pace() -> None:
    asleep = json.loads(json.dumps(TOLD))
    asleep["clock"]["gfx_0"]["deep_sleep"] = "ENABLED"
    assert amd.pace(ADDRESS, run=lambda _: json.dumps([asleep])).clock_fraction is None


@pytest.mark.parametrize("printed", [None, "", "amd-smi: error", "[]", "{}", "[7]", '[{"clock": "N/A", "limit": 3}]'])
def test_what_it_does_not_say_is_not_known(printed: str | None) -> None:
    found = amd.describe(ADDRESS, SEEN, run=lambda _: printed)
    assert (found.name, found.driver, found.power_limit, found.clock_max_sm) == (SEEN.name, None, None, None)
    assert amd.state(ADDRESS, run=lambda _: printed) == (None, None, None, None)
    assert amd.pace(ADDRESS, run=lambda _: printed).clock_fraction is None


def test_a_release_that_knows_no_throttling_is_asked_for_the_clock_alone() -> None:
    def run(asked):
        return None if "--throttle" in asked else json.dumps([TOLD])

    assert amd.pace(ADDRESS, run=run).clock_fraction == 0.75


def test_a_build_for_rocm_asks_it_and_not_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch.version, "hip", "7.1", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SEEN)

    def run(command):
        asked.append((command[0], command[3]))
        return json.dumps([TOLD])

    device = devices.of("cuda:0")
    assert device.describe(run).driver == "6.12.12"
    assert device.state(run).power == "251 W"
    assert device.pace(run).clock_fraction == 0.75
    assert set(asked) == {("amd-smi", ADDRESS)}
    with pytest.raises(Exception, match="nothing is known that counts the energy"):
        device.energy_counter()
