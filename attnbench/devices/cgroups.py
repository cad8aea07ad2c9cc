"""What control groups allow a process: cores, memory, and how long they have held it back. Never imports torch.

A container, a systemd unit and a Slurm job are groups, and a limit may be set on any of those that surround a process:
all of them are read, of version 1 and of version 2 (``man 7 cgroups``), as far as they can be seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
_MOUNTS = Path("sys/fs/cgroup")
_UNIFIED = ""
"""What version 2 has in the place of a controller's name."""


def folders(controller: str, root: Path = ROOT) -> list[Path]:
    """Return the folders of the groups that this process is in, the innermost first.

    Args:
        controller: such as ``cpu`` or ``memory``: with version 1 each has a tree of its own, and it is left out where
            the tree of version 2 has it.
        root: root of the file system to read from.
    """
    mounted = _mounted(root)
    found: list[Path] = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            if name in {controller, _UNIFIED}:
                mount, inside = mounted.get(name, (root / _MOUNTS / name, "/"))
                found += _upwards(mount, _below(path, inside))
    return found


def quota_cores(root: Path = ROOT) -> float | None:
    """Return how many cores' worth of time the strictest of the groups allows; None where none is limited."""
    quotas = [quota for folder in folders("cpu", root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def quota_pause_s(root: Path = ROOT) -> float | None:
    """Return how long CPU quotas have held this process's groups back, in seconds; None where no group counts it."""
    pauses = [pause for folder in folders("cpu", root) if (pause := _pause_s(folder)) is not None]
    return sum(pauses) if pauses else None


def available_memory_bytes(root: Path = ROOT) -> int | None:
    """Return what the groups leave this process of the main memory; None where none is limited.

    Files that the kernel keeps and can drop count as free, as they do for the machine as a whole.
    """
    left = [free for folder in folders("memory", root) if (free := _free_bytes(folder)) is not None]
    return min(left, default=None)


def out_of_memory_kills(root: Path = ROOT) -> int | None:
    """Return how many processes of the own group the kernel has ended for lack of memory; None if unknown.

    The kernel's counter for the whole machine says nothing: it counts what happens in other containers.
    """
    for folder in folders("memory", root):
        for name in ("memory.events", "memory.oom_control"):
            if count := _figure(folder / name, "oom_kill"):
                return int(count)
    return None


def _mounted(root: Path) -> dict[str, tuple[Path, str]]:
    """Return where each controller's tree is mounted, and which group is the root of what is mounted there."""
    found: dict[str, tuple[Path, str]] = {}
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, *_, options) = before.split(), after.split() or [""]
        if len(fields) < 5 or kind not in {"cgroup", "cgroup2"}:
            continue
        names = [_UNIFIED] if kind == "cgroup2" else options.split(",")
        for name in names:
            found.setdefault(name, (root / fields[4].lstrip("/"), fields[3]))
    return found


def _below(path: str, inside: str) -> str:
    """Return a group's path from the mounted one; empty where the path is the host's and says nothing in here."""
    if inside == "/":
        return path
    return path.removeprefix(inside) if f"{path}/".startswith(f"{inside}/") else ""


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part]
    for count in range(len(parts), -1, -1):
        if (folder := mount.joinpath(*parts[:count])).is_dir():
            yield folder


def _quota(folder: Path) -> float | None:
    limited = " ".join(_lines(folder / "cpu.max")).split() or [
        *_lines(folder / "cpu.cfs_quota_us"),
        *_lines(folder / "cpu.cfs_period_us"),
    ]
    if len(limited) != 2 or not all(text.isdecimal() for text in limited) or int(limited[1]) == 0:
        return None  # "max", and -1 in version 1
    return int(limited[0]) / int(limited[1])


def _pause_s(folder: Path) -> float | None:
    if microseconds := _figure(folder / "cpu.stat", "throttled_usec"):
        return int(microseconds) / 1e6
    nanoseconds = _figure(folder / "cpu.stat", "throttled_time")
    return int(nanoseconds) / 1e9 if nanoseconds else None


def _free_bytes(folder: Path) -> int | None:
    limit, used, cached = (
        _whole(folder, "memory.max", "memory.limit_in_bytes"),
        _whole(folder, "memory.current", "memory.usage_in_bytes"),
        _figure(folder / "memory.stat", "total_inactive_file") or _figure(folder / "memory.stat", "inactive_file"),
    )
    if limit is None or used is None or limit >= 2**60:  # version 1 says "no limit" by a number of that size
        return None
    return max(limit - max(used - int(cached or 0), 0), 0)


def _whole(folder: Path, *names: str) -> int | None:
    for name in names:
        text = "".join(_lines(folder / name))
        if text.isdecimal():
            return int(text)
    return None


def _figure(path: Path, name: str) -> str | None:
    found = re.search(rf"^{name} (\d+)$", "\n".join(_lines(path)), re.MULTILINE)
    return found.group(1) if found else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
