"""Kinds of devices that torch knows and that have no file here: all that is asked of them is what torch has for any.

Makers register theirs when torch is imported (entry point ``torch.backends``), under the name that they choose.
"""

from __future__ import annotations

from functools import cache

import torch

from attnbench.devices.accelerator import Accelerator

_RESERVED = ("mtia", "hpu", "xla", "maia", "ipu", "ve", "fpga")
"""Names that torch keeps for kinds, whose modules other packages bring or builds of torch have."""


def kinds() -> dict[str, type[Accelerator]]:
    """Return the kinds that torch has a module for which counts devices, by their names."""
    names = (*_RESERVED, torch._C._get_privateuse1_backend_name())  # noqa: SLF001 - torch has no other way to ask
    return {name: _kind(name) for name in names if hasattr(getattr(torch, name, None), "device_count")}


@cache
def _kind(name: str) -> type[Accelerator]:
    return type(f"{name.capitalize()}Device", (Accelerator,), {"kind": name})
