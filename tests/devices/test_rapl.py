"""Counters of energy as Linux shows them, in a tree made by hand."""

from pathlib import Path

import pytest

from attnbench.devices.energy import NoCounterError
from attnbench.devices.rapl import Rapl

RANGE = 1_000_000


def put(root: Path, zone: str, name: str, energy_uj: int) -> Path:
    """Put a counter into the tree, and return the file that is read."""
    folder = root / "sys/class/powercap" / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def test_packages_and_their_memory_are_added_and_nothing_twice(tmp_path: Path) -> None:
    read = {
        "package-0": put(tmp_path, "intel-rapl:0", "package-0", 10),
        "package-1": put(tmp_path, "intel-rapl:1", "package-1", 20),
        "core": put(tmp_path, "intel-rapl:0/intel-rapl:0:0", "core", 30),
        "dram": put(tmp_path, "intel-rapl:0/intel-rapl:0:1", "dram", 40),
        "psys": put(tmp_path, "intel-rapl:2", "psys", 50),
        "mmio": put(tmp_path, "intel-rapl-mmio:0", "package-0", 60),
    }
    counter = Rapl(tmp_path)
    assert counter.name == "RAPL package-0 + package-1 + dram"
    assert counter.read_j() == 0
    for more, file in enumerate(read.values()):
        file.write_text(str(int(file.read_text()) + 10**more))
    assert counter.read_j() == pytest.approx((1 + 10 + 1000) * 1e-6)


def test_a_counter_that_begins_again_goes_on(tmp_path: Path) -> None:
    file = put(tmp_path, "intel-rapl:0", "package-0", RANGE - 100)
    counter = Rapl(tmp_path)
    file.write_text("300")
    assert counter.read_j() == pytest.approx(400e-6)
    file.write_text("200")
    assert counter.read_j() == pytest.approx((400 + RANGE - 100) * 1e-6)


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoCounterError, match="no package of RAPL below"):
        Rapl(tmp_path)


def test_a_counter_that_may_not_be_read_is_none_and_not_zero(tmp_path: Path) -> None:
    file = put(tmp_path, "intel-rapl:0", "package-0", 1)
    memory = put(tmp_path, "intel-rapl:0/intel-rapl:0:0", "dram", 1)
    memory.unlink()
    memory.mkdir()  # of those that root cannot read either
    with pytest.raises(NoCounterError, match="intel-rapl:0:0"):
        Rapl(tmp_path)
    file.write_text("")
    with pytest.raises(NoCounterError, match="not a number"):
        Rapl(tmp_path)


def test_a_counter_that_is_gone_says_so(tmp_path: Path) -> None:
    file = put(tmp_path, "intel-rapl:0", "package-0", 1)
    counter = Rapl(tmp_path)
    file.unlink()
    with pytest.raises(NoCounterError, match="energy_uj"):
        counter.read_j()
