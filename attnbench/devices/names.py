"""Names of devices, as far as they can be told apart without torch: for who has the list and not the devices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

HOST = "cpu"
"""The device that is always there."""
PRINTED = "cuda"
"""What the hardware that papers name is to torch."""


def kind(device: str) -> str:
    """Return the kind of a device: what stands before the index."""
    return device.partition(":")[0]


def preferred(devices: Sequence[str]) -> str:
    """Return the device to measure on where none was asked for: the first accelerator, else the CPU."""
    return next((device for device in devices if kind(device) != HOST), HOST)


def parse(text: str, devices: Sequence[str]) -> str:
    """Return a device by its full name: ``auto`` is the preferred one, a kind without an index its first.

    Raises:
        ValueError: it is not among those that are there.
    """
    if text == "auto":
        return preferred(devices)
    device = next((name for name in (text, f"{text}:0") if name in devices), None)
    if device is None:
        raise ValueError(f"torch sees {', '.join(devices)} on this machine")
    return device


_ACCELERATED = re.compile(
    r"(nvidia|tesla|quadro|rtx|gtx|titan|instinct|radeon|gh200|gb200|[abhltv]\d{1,3}s?|mi\d{2,3}[axp]?)\b"
)
_PROCESSORS = re.compile(
    r"(amd|intel|arm|cpu|epyc|xeon|ryzen|threadripper|opteron|core|graviton|neoverse|altra|grace)\b"
)


def device_of(hardware: str) -> str:
    """Return the device that hardware of a name is to torch, by its full name; empty where the name says nothing.

    Example:
        >>> device_of("h100"), device_of("EPYC"), device_of("the-old-one")
        ('cuda:0', 'cpu', '')
    """
    words = hardware.lower()
    if _ACCELERATED.match(words):
        return f"{PRINTED}:0"
    return HOST if _PROCESSORS.match(words) else ""


def is_named(hardware: str, names: Iterable[str]) -> bool:
    """Return whether hardware that is called so is a part of any of some full names: h100 of NVIDIA H100 80GB HBM3.

    Example:
        >>> is_named("h100", ["NVIDIA H100 80GB HBM3"]), is_named("epyc", ["Intel Xeon"])
        (True, False)
    """
    part = _letters(hardware)
    return bool(part) and any(part in _letters(name) for name in names)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
