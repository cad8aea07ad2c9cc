"""Which device a name stands for, and kinds that other packages bring."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import brought
import fake_device
import pytest

from attnbench import devices, families
from attnbench.devices import names
from attnbench.devices.cpu import CpuDevice
from attnbench.devices.cuda import CudaDevice
from attnbench.errors import PluginError, UsageError


def entry(value: str) -> EntryPoint:
    return EntryPoint(name="fake", value=value, group=devices.GROUP)


def test_a_device_is_of_the_kind_that_its_name_begins_with() -> None:
    assert type(devices.of("cpu")) is CpuDevice
    assert type(devices.of("cuda:1")) is CudaDevice
    assert devices.of("cuda:1").where.index == 1


def test_a_kind_that_nobody_has_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"--device 'cudo:1'.*cuda"):
        devices.of("cudo:1")


def test_another_package_s_kind_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_device.put(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    families.installed.cache_clear()
    try:
        assert type(devices.of("fake:1")) is fake_device.Fake
        assert {"cpu", "fake:0", "fake:1"} <= set(devices.present())
    finally:
        sys.path.remove(str(tmp_path))
        families.installed.cache_clear()


@pytest.mark.parametrize("value", ["no_such_module:Fake", "fake_device:Nothing", "fake_device:FakeModule"])
def test_a_kind_that_does_not_load_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    brought.bring(monkeypatch, entry(value))
    assert CpuDevice in devices.kinds()
    assert "cpu" in devices.present()
    with pytest.raises(PluginError, match=f"device fake .{value}"):
        devices.of("fake:0")


@pytest.mark.parametrize(
    ("text", "name"), [("auto", "fake:0"), ("fake", "fake:0"), ("fake:1", "fake:1"), ("cpu", "cpu")]
)
def test_a_device_is_named_in_full(text: str, name: str) -> None:
    assert names.parse(text, ("cpu", "fake:0", "fake:1")) == name


def test_the_cpu_is_measured_on_where_there_is_nothing_else() -> None:
    assert names.parse("auto", ("cpu",)) == "cpu"
    with pytest.raises(ValueError, match="torch sees cpu on this machine"):
        names.parse("cuda", ("cpu",))
