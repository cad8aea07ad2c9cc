"""What nvidia-smi says of GPUs, None where it says nothing. Imports no torch.

The command comes with the driver; pynvml, which is quicker, would have to be installed, and nothing here is asked for
while anything is timed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from attnbench.devices.machine import Gpu, Run, run_command

_THROTTLES = {"sw_power_cap": "its power cap", "sw_thermal_slowdown": "heat", "hw_thermal_slowdown": "heat (hardware)"}
_THROTTLE_BITS = {0x04: "its power cap", 0x08: "a hardware slowdown", 0x20: "heat", 0x40: "heat (hardware)"}
_IDLE_BIT = 0x01
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""Names of one field, the newer first. A driver refuses to answer at all where it does not know one."""


class SeenGpu(Protocol):
    """A GPU's properties, as far as they are used, under the names that torch has for them."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


class Pace(NamedTuple):
    """How fast a device goes at this moment, and what has slowed it down, in words."""

    clock_fraction: float | None = None
    """Its clock relative to the highest; None if nobody says, or if it has gone idle."""
    slowed_by: tuple[str, ...] = ()
    """What slows it at this moment."""
    slowed_s: dict[str, float] | None = None
    """Time slowed since the driver was loaded, by cause; None where nobody counts it."""


def names(*, run: Run = run_command) -> tuple[str, ...]:
    """Return the names of all GPUs, none if there is no driver."""
    said = run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return tuple(line.strip() for line in (said or "").splitlines() if line.strip())


def query(uuid: str, fields: str, *, run: Run = run_command) -> list[str] | None:
    """Return fields of ``nvidia-smi --query-gpu`` with their units, None if one is unknown or there is no such GPU."""
    line = run(["nvidia-smi", "-i", uuid, f"--query-gpu={fields}", "--format=csv,noheader"])
    values = [value.strip() for value in (line or "").split(",")]
    return values if len(values) == fields.count(",") + 1 else None


def describe(uuid: str, seen: SeenGpu, *, run: Run = run_command) -> Gpu:
    """Describe a GPU. nvidia-smi may be missing, as in containers, or not know it: slices of a GPU, other makers'."""
    fields = "driver_version,power.limit,clocks.max.sm,clocks.max.memory"
    said: Sequence[str | None] = query(uuid, fields, run=run) or [None] * 4
    driver, power, sm, memory_clock = said
    return Gpu(
        name=seen.name,
        compute_capability=f"{seen.major}.{seen.minor}",
        memory=f"{seen.total_memory // 2**20} MiB",
        multiprocessors=seen.multi_processor_count,
        driver=driver,
        power_limit=power,
        clock_max_sm=sm,
        clock_max_memory=memory_clock,
    )


def pace(uuid: str, *, run: Run = run_command) -> Pace:
    """Return how fast a GPU goes and what slows it; an empty answer where nvidia-smi gives none."""
    asked = (query(uuid, f"clocks.sm,clocks.max.sm,{name}", run=run) for name in _REASONS)
    now = next(filter(None, asked), None)
    if now is None:
        return Pace()
    clock, highest = _number(now[0]), _number(now[1])
    reasons = int(now[2], 16) if now[2].startswith("0x") else 0
    return Pace(
        clock_fraction=clock / highest if clock and highest and not reasons & _IDLE_BIT else None,
        slowed_by=tuple(name for bit, name in _THROTTLE_BITS.items() if reasons & bit),
        slowed_s=_slowed_s(uuid, run),
    )


def _slowed_s(uuid: str, run: Run) -> dict[str, float] | None:
    counters = ",".join(f"clocks_event_reasons_counters.{cause}" for cause in _THROTTLES)
    texts = query(uuid, counters, run=run)
    if texts is None:
        return None
    return {cause: (_number(text) or 0.0) / 1e6 for cause, text in zip(_THROTTLES.values(), texts, strict=True)}


def _number(text: str) -> float | None:
    """Return the number that a value with a unit begins with, None for ``[N/A]``."""
    found = re.match(r"[\d.]+", text)
    return None if found is None else float(found.group())
