"""The kinds of devices, one file each, and the machine. The only place that names a kind; imports no torch by itself.

A device is chosen by its own name, such as ``cuda:1``, never by what torch takes for the current one. Other packages
bring a kind by the entry-point group ``attnbench.devices``: its name, and a subclass of
``attnbench.devices.device.Device``. What registers with torch alone is a kind as well, of what torch has for any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attnbench.devices import names
from attnbench.errors import UsageError, did_you_mean
from attnbench.families import Family

if TYPE_CHECKING:
    from attnbench.devices.device import Device

GROUP = "attnbench.devices"
_FAMILY: Family[Device] = Family(
    word="device",
    group=GROUP,
    built_in={
        "cpu": "attnbench.devices.cpu:CpuDevice",
        "cuda": "attnbench.devices.cuda:CudaDevice",
        "xpu": "attnbench.devices.xpu:XpuDevice",
        "mps": "attnbench.devices.mps:MpsDevice",
    },
    base="attnbench.devices.device:Device",
)
_LACKING = (
    "Could not run 'aten::",
    "is not currently implemented for the",
    "is not currently supported on the",
    "\" not implemented for '",
    "does not support float64",
    "no scheduling registered for device",
)
"""What torch says of a kernel or a type that a device does not have, whichever it is."""


def of(name: str) -> Device:
    """Return the device of a name.

    Raises:
        PluginError: its kind belongs to another package and does not load.
        UsageError: there is no such kind.
    """
    kind = names.kind(name)
    known = _FAMILY.names()
    if kind in known:
        return _FAMILY.of(kind)(name)
    others = _registered()
    if kind not in others:
        raise UsageError(f"--device {name!r}: {did_you_mean(kind, [*known, *others])}")
    return others[kind](name)


def present() -> tuple[str, ...]:
    """Return the names of the devices that this process can use, the CPU first."""
    return tuple(name for kind in kinds() for name in kind.present())


def kinds() -> tuple[type[Device], ...]:
    """Return every kind that loads; one of another package that does not is there for nobody."""
    known = _FAMILY.names()
    return (*_FAMILY.loaded(), *(kind for name, kind in _registered().items() if name not in known))


def lacking(error: BaseException) -> bool:
    """Return whether an error says that a device does not have a type or a kernel: no fault of whoever asked for it."""
    if not isinstance(error, NotImplementedError | RuntimeError | TypeError | AssertionError):
        return False
    said = str(error)
    return any(text in said for text in (*_LACKING, *(text for kind in kinds() for text in kind.lacks)))


def _registered() -> Mapping[str, type[Device]]:
    from attnbench.devices import registered  # noqa: PLC0415 - torch

    return registered.kinds()
