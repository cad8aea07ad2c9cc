"""What psutil, /proc and /sys say of the machine, None where they say nothing.

Never imports torch. Every reader takes the root of the file system, and every command goes through a
function that can be replaced, so that other machines can be described to them.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from attnbench.child import ProgramError, run_program
from attnbench.devices import cgroups

Run = Callable[[Sequence[str]], str | None]
"""Runs a command and returns what it printed, None if it is missing, failed or took over 10 s."""

ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor, as far as it says."""

    model: str
    physical_cores: int | None
    logical_cores: int
    usable_cores: int
    """Logical cores that this process may run on."""
    quota_cores: float | None = None
    """Cores' worth of time that control groups allow it, None where they set no limit."""
    governor: str | None = None
    """Frequency policy of core 0, such as ``performance``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTime:
    """Time since boot, in seconds, summed over some cores."""

    busy_s: float
    stolen_s: float
    """Time a hypervisor gave to other machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, or the part of one that a process is given: as torch sees it, the rest as its maker's tools say it."""

    name: str
    compute_capability: str | None
    memory: str | None
    multiprocessors: int | None
    driver: str | None
    power_limit: str | None
    clock_max_sm: str | None
    clock_max_memory: str | None


def run_command(arguments: Sequence[str]) -> str | None:
    """Return what a command prints, None if it is missing, fails or takes over 10 s."""
    try:
        return run_program(arguments, timeout_s=10)
    except (OSError, ProgramError):
        return None


def usable_cores() -> frozenset[int]:
    """Return the numbers of the logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def whole_cores(root: Path = ROOT) -> int:
    """Return how many threads can run all the time: the cores allowed, or as many as a CPU quota amounts to."""
    quota = cgroups.quota_cores(root)
    allowed = len(usable_cores())
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def cpu(root: Path = ROOT, *, run: Run = run_command) -> Cpu:
    """Describe the processor."""
    information = _read(root / "proc/cpuinfo") or ""
    model = (
        _first(r"^model name\s*:\s*(.+)$", information)
        or _arm(information, run)
        or run(["sysctl", "-n", "machdep.cpu.brand_string"])
    )
    return Cpu(
        model=_short(model or platform.machine()),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count() or 1,
        usable_cores=len(usable_cores()),
        quota_cores=cgroups.quota_cores(root),
        governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    )


def cpu_mhz(cores: Collection[int], root: Path = ROOT) -> float | None:
    """Return the clock of the fastest of some cores, MHz: the one at work, wherever the scheduler put the process."""
    folder = root / "sys/devices/system/cpu"
    khz = [_read(folder / f"cpu{core}/cpufreq/scaling_cur_freq") for core in cores]
    if found := [int(text) / 1000 for text in khz if text]:
        return max(found)
    mhz = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _read(root / "proc/cpuinfo") or "", re.MULTILINE)
    return max((float(text) for core, text in enumerate(mhz) if core in cores), default=None)


def cpu_time(cores: Collection[int], root: Path = ROOT) -> CpuTime | None:
    """Return how long some cores have been busy, whoever they worked for."""
    lines = re.findall(r"^cpu(\d+) (.+)$", _read(root / "proc/stat") or "", re.MULTILINE)
    ticks = [[int(field) for field in fields.split()] for core, fields in lines if int(core) in cores]
    if not ticks or len(ticks[0]) < 8:
        return None
    hertz = os.sysconf("SC_CLK_TCK")
    # user nice system idle iowait irq softirq steal; user already holds the time of guests.
    busy = sum(sum(fields[:3]) + fields[5] + fields[6] for fields in ticks)
    return CpuTime(busy_s=busy / hertz, stolen_s=sum(fields[7] for fields in ticks) / hertz)


def idlest_core(
    *, watched_s: float = 0.2, root: Path = ROOT, sleep: Callable[[float], object] = time.sleep
) -> int | None:
    """Return which of the cores that this process may use had least to do of late, None where nothing tells.

    Args:
        watched_s: how long they are watched.
        root: of the file system to read from.
        sleep: waits.
    """
    cores = sorted(usable_cores(), reverse=True)
    before = {core: cpu_time([core], root) for core in cores}
    sleep(watched_s)
    after = {core: cpu_time([core], root) for core in cores}
    spent = {
        core: now.busy_s + now.stolen_s - was.busy_s - was.stolen_s
        for core in cores
        if (was := before[core]) is not None and (now := after[core]) is not None
    }
    return min(spent, key=lambda core: spent[core], default=None)


def last_cache_bytes(root: Path = ROOT) -> int | None:
    """Return the size of the processor's last cache, the largest that core 0 names; None if it names none."""
    sizes = [_read(path) for path in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 2**10, "M": 2**20}
    return max((int(text[:-1]) * units[text[-1]] for text in sizes if text and text[-1] in units), default=None)


def has_vnni(root: Path = ROOT) -> bool:
    """Return whether an x86 processor sums products of bytes without saturation."""
    return "vnni" in (_read(root / "proc/cpuinfo") or "")


def shared_memory_bytes(root: Path = ROOT) -> int | None:
    """Return how much of the memory that processes share is free; None where it is no file system of its own."""
    try:
        found = os.statvfs(root / "dev/shm")
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def memory_bytes() -> int:
    """Return the size of the main memory."""
    return psutil.virtual_memory().total


def available_memory_bytes(root: Path = ROOT) -> int:
    """Return the main memory that can be had without swapping, within the limits of the control groups."""
    whole, ours = psutil.virtual_memory().available, cgroups.available_memory_bytes(root)
    return whole if ours is None else min(whole, ours)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else None


def _arm(information: str, run: Run) -> str | None:
    """Name a processor of ARM, whose kernel gives numbers for its maker and its part and no name."""
    maker = _first(r"^CPU implementer\s*:\s*(\w+)$", information)
    part = _first(r"^CPU part\s*:\s*(\w+)$", information)
    if maker is None or part is None:
        return None
    named = _first(r"^Model name:\s*(.+)$", run(["lscpu"]) or "")  # util-linux keeps the table of names
    return f"{named if named and named != '-' else 'ARM'} (implementer {maker}, part {part})"


def _short(model: str) -> str:
    """Return a processor's name without trademarks, clock and the word processor."""
    return " ".join(re.sub(r"\((R|TM)\)|@.*|\b\d+-Core\b|\b(CPU|Processor)\b", " ", model).split())
