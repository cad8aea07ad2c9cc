"""What runs a module, a file each: torch itself, and those that it is exported to. Imports no torch by itself.

Other packages bring one by the entry-point group ``attnbench.runtimes``: its name, and a subclass of
``attnbench.runtimes.runtime.Runtime``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.errors import did_you_mean
from attnbench.families import Family

if TYPE_CHECKING:
    from attnbench.runtimes.runtime import Runtime

GROUP = "attnbench.runtimes"
TORCH = "torch"
"""The runtime that a module is written for; what others compute is compared with what it does."""
_FAMILY: Family[Runtime] = Family(
    word="runtime",
    group=GROUP,
    built_in={
        TORCH: "attnbench.runtimes.eager:TorchRuntime",
        "onnxruntime": "attnbench.runtimes.ort:OnnxRuntime",
        "openvino": "attnbench.runtimes.vino:OpenVino",
    },
    base="attnbench.runtimes.runtime:Runtime",
)


def name_of(text: str) -> str:
    """Return the name of a runtime that is known, installed or not.

    Raises:
        ValueError: there is none of that name.
    """
    known = _FAMILY.names()
    if text not in known:
        raise ValueError(did_you_mean(text, known))
    return text


def of(name: str) -> type[Runtime]:
    """Return the runtime of a name.

    Raises:
        PluginError: it belongs to another package and does not load.
        UsageError: there is none of that name.
    """
    return _FAMILY.of(name)


def why_missing(name: str) -> str:
    """Return what a runtime lacks to be used here, with what to install; empty if it lacks nothing.

    Raises:
        PluginError: it belongs to another package and does not load.
    """
    return of(name).why_missing()
