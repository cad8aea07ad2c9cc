"""Names of devices, as far as they can be told apart without torch: for who has the list and not the devices."""

from __future__ import annotations

from collections.abc import Sequence

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
