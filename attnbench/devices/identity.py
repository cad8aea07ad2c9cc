"""What an environment is called, from its parts as they are recorded: its id and the hardware's name. Never torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_NOT_HASHED = ("code", "state", "environment_id", "hardware", "torch_version")
"""Which attnbench it was, the state of the moment, and what stands beside the parts."""


def environment_id(parts: Mapping[str, Any]) -> str:
    """Return the hash of what a latency may depend on, 12 hexadecimal digits.

    Args:
        parts: the fields of an ``Environment`` by their names, with or without what is recorded beside them.
    """
    stable = {name: part for name, part in parts.items() if name not in _NOT_HASHED}
    return hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()[:12]


def hardware(parts: Mapping[str, Any]) -> str | None:
    """Return what a person calls the machine: the GPU if one was measured, else the processor with its cores.

    Args:
        parts: the fields of an ``Environment``; None is returned where they do not have it.
    """
    gpu, cpu = parts.get("gpu"), parts.get("cpu")
    if isinstance(gpu, Mapping):
        return gpu.get("name")
    if not isinstance(cpu, Mapping) or not isinstance(cpu.get("usable_cores"), int):
        return None
    cores = min(cpu["usable_cores"], cpu.get("physical_cores") or cpu["usable_cores"])
    quota = cpu.get("quota_cores")
    limited = f", quota {quota:g}" if isinstance(quota, int | float) and quota < cores else ""
    return f"{cpu.get('model')}, {cores} core{'s' if cores != 1 else ''}{limited}"
