"""What torch's allocator of an accelerator tells of its memory, None or nothing where it tells nothing.

Torch has such figures in the module of a kind, or for whichever kind it takes for *the* accelerator: that is asked only
where it is the kind that is meant, since another that is registered takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch


class Allocator:
    """The allocator of one device.

    Args:
        where: the device, with its index.
        module: torch's module of its kind.
    """

    def __init__(self, where: torch.device, module: Any) -> None:  # noqa: ANN401 - torch.cuda, torch.xpu and their like
        self._where = where
        self._module = module

    def stats(self) -> Mapping[str, int]:
        """Return its counts by torch's names, such as ``allocated_bytes.all.peak``; empty where it keeps none."""
        found = self._ask("memory_stats", "memory_stats")
        return found if isinstance(found, Mapping) else {}

    def reset_peak(self) -> None:
        """Let peaks begin anew."""
        self._ask("reset_peak_memory_stats", "reset_peak_memory_stats")

    def free_and_total(self) -> tuple[int, int] | None:
        """Return how much of the device's memory is free and how much there is, in bytes."""
        found = self._ask("mem_get_info", "get_memory_info")
        return (int(found[0]), int(found[1])) if found is not None else None

    def empty(self) -> None:
        """Give back what is kept unused."""
        if hasattr(self._module, "empty_cache"):
            self._module.empty_cache()
        elif is_current(self._where.type):
            torch.accelerator.empty_cache()

    def _ask(self, name: str, of_any: str) -> Any:  # noqa: ANN401 - what torch answers
        if hasattr(self._module, name):
            return getattr(self._module, name)(self._where)
        ask = getattr(getattr(torch.accelerator, "memory", None), of_any, None)
        if ask is None or not is_current(self._where.type):
            return None
        with suppress(NotImplementedError, RuntimeError):  # an allocator that has no such figure says so by raising
            return ask(self._where)
        return None


def is_current(kind: str) -> bool:
    """Return whether what torch has for any accelerator is about a kind."""
    current = torch.accelerator.current_accelerator(check_available=True)
    return current is not None and current.type == kind
