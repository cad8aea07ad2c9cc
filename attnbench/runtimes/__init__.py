"""What runs a module, a file each: torch itself, and those that it is exported to. Imports no torch by itself.

Other packages bring one by the entry-point group ``attnbench.runtimes``: its name, and a subclass of
``attnbench.runtimes.runtime.Runtime``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from attnbench.errors import PluginError, UsageError, did_you_mean

if TYPE_CHECKING:
    from attnbench.runtimes.runtime import Runtime

GROUP = "attnbench.runtimes"
TORCH = "torch"
"""The runtime that a module is written for; what others compute is compared with what it does."""
_BUILT_IN = {
    TORCH: "attnbench.runtimes.eager:TorchRuntime",
    "onnxruntime": "attnbench.runtimes.ort:OnnxRuntime",
    "openvino": "attnbench.runtimes.vino:OpenVino",
}


def name_of(text: str) -> str:
    """Return the name of a runtime that is known, installed or not.

    Raises:
        ValueError: there is none of that name.
    """
    if text not in _BUILT_IN and text not in _entries():
        raise ValueError(did_you_mean(text, _entries()))
    return text


def of(name: str) -> type[Runtime]:
    """Return the runtime of a name.

    Raises:
        PluginError: it belongs to another package and does not load.
        UsageError: there is none of that name.
    """
    try:
        return _load(_entries()[name_of(name)])
    except ValueError as error:
        raise UsageError(f"--runtime {name!r}: {error}") from None


def why_missing(name: str) -> str:
    """Return what a runtime lacks to be used here, with what to install; empty if it lacks nothing.

    Raises:
        PluginError: it belongs to another package and does not load.
    """
    return of(name).why_missing()


@cache
def _entries() -> Mapping[str, EntryPoint]:
    ours = {name: EntryPoint(name=name, value=value, group=GROUP) for name, value in _BUILT_IN.items()}
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    return MappingProxyType({**ours, **{name: entry for name, entry in others.items() if name not in ours}})


def _load(entry: EntryPoint) -> type[Runtime]:
    from attnbench.runtimes.runtime import Runtime  # noqa: PLC0415 - torch

    try:
        found: object = entry.load()
    except Exception as error:  # the code of another package may raise anything
        raise PluginError(f"runtime {entry.name} ({entry.value}): {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Runtime)):
        raise PluginError(f"runtime {entry.name} ({entry.value}): not a subclass of attnbench.runtimes.runtime.Runtime")
    return found
