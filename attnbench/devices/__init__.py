"""The kinds of devices, one file each, and the machine. The only place that names a kind; imports no torch by itself.

A device is chosen by its own name, such as ``cuda:1``, never by what torch takes for the current one. Other packages
bring a kind by the entry-point group ``attnbench.devices``: its name, and a subclass of
``attnbench.devices.device.Device``. What registers with torch alone is a kind as well, of what torch has for any.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from attnbench.devices import names
from attnbench.errors import PluginError, UsageError, did_you_mean

if TYPE_CHECKING:
    from attnbench.devices.device import Device

GROUP = "attnbench.devices"
_BUILT_IN = {
    "cpu": "attnbench.devices.cpu:CpuDevice",
    "cuda": "attnbench.devices.cuda:CudaDevice",
    "xpu": "attnbench.devices.xpu:XpuDevice",
    "mps": "attnbench.devices.mps:MpsDevice",
}
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
    known = _entries()
    if kind in known:
        return _load(known[kind])(name)
    others = _registered()
    if kind not in others:
        raise UsageError(f"--device {name!r}: {did_you_mean(kind, [*known, *others])}")
    return others[kind](name)


def present() -> tuple[str, ...]:
    """Return the names of the devices that this process can use, the CPU first."""
    return tuple(name for kind in kinds() for name in kind.present())


def kinds() -> tuple[type[Device], ...]:
    """Return every kind that loads; one of another package that does not is there for nobody."""
    found = []
    for entry in _entries().values():
        try:
            found.append(_load(entry))
        except PluginError:
            continue
    others = (kind for name, kind in _registered().items() if name not in _entries())
    return (*found, *others)


def lacking(error: BaseException) -> bool:
    """Return whether an error says that a device does not have a type or a kernel: no fault of whoever asked for it."""
    if not isinstance(error, NotImplementedError | RuntimeError | TypeError | AssertionError):
        return False
    said = str(error)
    return any(text in said for text in (*_LACKING, *(text for kind in kinds() for text in kind.lacks)))


def _registered() -> Mapping[str, type[Device]]:
    from attnbench.devices import registered  # noqa: PLC0415 - torch

    return registered.kinds()


@cache
def _entries() -> Mapping[str, EntryPoint]:
    ours = {name: EntryPoint(name=name, value=value, group=GROUP) for name, value in _BUILT_IN.items()}
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    return MappingProxyType({**ours, **{name: entry for name, entry in others.items() if name not in ours}})


def _load(entry: EntryPoint) -> type[Device]:
    from attnbench.devices.device import Device  # noqa: PLC0415 - torch

    try:
        kind: object = entry.load()
    except Exception as error:  # the code of another package may raise anything
        raise PluginError(f"device {entry.name} ({entry.value}): {type(error).__name__}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Device)):
        raise PluginError(f"device {entry.name} ({entry.value}): not a subclass of attnbench.devices.device.Device")
    return kind
