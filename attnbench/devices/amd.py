"""What amd-smi says of AMD's GPUs, None where it says nothing. Imports no torch.

The command comes with ROCm. What it prints is not the same in all releases: a list of GPUs or a table with one in it,
figures with their unit or ``N/A``. So every figure is looked for, and one that is not found is not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attnbench.devices.figures import State
from attnbench.devices.gpus import Pace, SeenGpu
from attnbench.devices.machine import Gpu, Run, run_command

_LIMITS = (("limit", "socket_power"), ("limit", "ppt0", "socket_power_limit"), ("limit", "max_power"))
"""Where releases say the power limit that is set, the newer ones first; the oldest have one limit alone."""
_SENSORS = (("temperature", "hotspot"), ("temperature", "edge"))
_POWER = (("power", "socket_power"), ("power", "current_socket_power"), ("power", "average_socket_power"))
_VIOLATIONS = {
    "ppt": "its power cap",
    "prochot": "a hardware slowdown",
    "socket_thermal": "heat",
    "vr_thermal": "heat (voltage regulator)",
    "hbm_thermal": "heat (memory)",
}
Said = Mapping[str, Any]


def describe(address: str, seen: SeenGpu, *, run: Run = run_command) -> Gpu:
    """Describe a GPU by its PCI address, such as ``0000:0c:00.0``. amd-smi may be missing, as in containers."""
    static = _ask(address, "static", "--driver", "--limit", run=run)
    clocks = _ask(address, "metric", "--clock", run=run)
    return Gpu(
        name=seen.name,
        compute_capability=f"{seen.major}.{seen.minor}",
        memory=f"{seen.total_memory // 2**20} MiB",
        multiprocessors=seen.multi_processor_count,
        driver=_text(static, "driver", "version"),
        power_limit=_first(static, _LIMITS),
        clock_max_sm=_text(clocks, "clock", "gfx_0", "max_clk"),
        clock_max_memory=_text(clocks, "clock", "mem_0", "max_clk"),
    )


def state(address: str, *, run: Run = run_command) -> State:
    """Return temperature, clocks and power of a GPU."""
    said = _ask(address, "metric", "--temperature", "--clock", "--power", run=run)
    clocks = dict(_clocks(said, "clk"))
    return State(
        temperature=_first(said, _SENSORS),
        clock=clocks[max(clocks)] if clocks else None,
        memory_clock=_text(said, "clock", "mem_0", "clk"),
        power=_first(said, _POWER),
    )


def pace(address: str, *, run: Run = run_command) -> Pace:
    """Return how fast a GPU goes and what slows it; an empty answer where amd-smi gives none."""
    said = _ask(address, "metric", "--clock", "--throttle", run=run) or _ask(address, "metric", "--clock", run=run)
    now, highest = (max((number for number, _ in _clocks(said, each)), default=None) for each in ("clk", "max_clk"))
    clocks = _inner(said, "clock")
    asleep = any(
        _inner(said, "clock", name).get("deep_sleep") == "ENABLED" for name in clocks if str(name).startswith("gfx_")
    )
    throttle = _inner(said, "throttle")
    return Pace(
        clock_fraction=now / highest if now and highest and not asleep else None,
        slowed_by=tuple(
            words for name, words in _VIOLATIONS.items() if throttle.get(f"{name}_violation_status") == "ACTIVE"
        ),
    )


def _ask(address: str, about: str, *fields: str, run: Run) -> Said:
    """Return what amd-smi says of one GPU, nothing where it is missing, refuses or says what is none of its forms."""
    printed = run(["amd-smi", about, "--gpu", address, *fields, "--json"])
    try:
        said = json.loads(printed or "")
    except ValueError:
        return {}
    found = said.get("gpu_data") if isinstance(said, dict) else said
    first = found[0] if isinstance(found, list) and found else said
    return first if isinstance(first, dict) else {}


def _clocks(said: Said, which: str) -> Iterator[tuple[float, str]]:
    """Yield the clocks of the parts that compute, each as a number and as text."""
    for name, clock in _inner(said, "clock").items():
        text = _text(clock, which) if str(name).startswith("gfx_") and isinstance(clock, dict) else None
        if text:
            yield float(text.split()[0]), text


def _first(said: Said, places: tuple[tuple[str, ...], ...]) -> str | None:
    return next((text for place in places if (text := _text(said, *place))), None)


def _text(said: Said, *place: str) -> str | None:
    """Return a figure with its unit, or a text; None for ``N/A``."""
    found = _inner(said, *place[:-1]).get(place[-1])
    if isinstance(found, dict):
        value, unit = found.get("value"), found.get("unit", "")
        return f"{value:g} {unit}".strip() if isinstance(value, int | float) else None
    return found if isinstance(found, str) and found != "N/A" else None


def _inner(said: Said, *place: str) -> Said:
    for name in place:
        inner = said.get(name)
        said = inner if isinstance(inner, dict) else {}
    return said
