"""The kinds of devices, one file each, and the machine. The only place that names a kind; imports no torch by itself.

A device is chosen by its own name, such as ``cuda:1``, never by what torch takes for the current one. Other packages
bring a kind by the entry-point group ``attnbench.devices``: its name, and a subclass of
``attnbench.devices.device.Device``.
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
_BUILT_IN = {"cpu": "attnbench.devices.cpu:CpuDevice", "cuda": "attnbench.devices.cuda:CudaDevice"}


def of(name: str) -> Device:
    """Return the device of a name.

    Raises:
        PluginError: its kind belongs to another package and does not load.
        UsageError: there is no such kind.
    """
    kind = names.kind(name)
    known = _entries()
    if kind not in known:
        raise UsageError(f"--device {name!r}: {did_you_mean(kind, known)}")
    return _load(known[kind])(name)


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
    return tuple(found)


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
