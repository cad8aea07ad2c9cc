"""attnbench: attention mechanisms measured side by side, with the conditions beside every figure."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnbench.api import load, run
    from attnbench.mechanism import Macs, Mechanism, Site
    from attnbench.models import networks
    from attnbench.plugins.adapter import adapt

__all__ = ["Macs", "Mechanism", "Site", "__version__", "adapt", "load", "networks", "run"]
__version__ = version("attnbench")

_LATER = {
    "Macs": "attnbench.mechanism:Macs",
    "Mechanism": "attnbench.mechanism:Mechanism",
    "Site": "attnbench.mechanism:Site",
    "adapt": "attnbench.plugins.adapter:adapt",
    "load": "attnbench.api:load",
    "networks": "attnbench.models.networks:",
    "run": "attnbench.api:run",
}
"""Where the names stand that need torch or pandas: these are imported when one is first asked for."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, _, attribute = _LATER[name].partition(":")
    module = importlib.import_module(module_name)
    found = getattr(module, attribute) if attribute else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
