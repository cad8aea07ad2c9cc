"""A setting of torch that is shared by everything in a process, so that it can be read and put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One setting of the process."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def attribute(owner: Any, name: str) -> Switch:  # noqa: ANN401 - a module of torch's
    """Return the switch that is an attribute of one of torch's modules."""
    return Switch(read=lambda: getattr(owner, name), write=lambda value: setattr(owner, name, value))


def autocast(kind: str) -> Switch:
    """Return the switch of autocasting on a kind of device."""
    return Switch(
        read=lambda: torch.is_autocast_enabled(kind), write=lambda value: torch.set_autocast_enabled(kind, value)
    )
