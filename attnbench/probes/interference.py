"""What disturbed a measurement from outside: other processes, the hypervisor, quotas, clocks, a throttled GPU.

Recorded beside the latencies, never used to correct or to drop one. What the machine does not tell is None.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from attnbench.devices import cgroups, machine
from attnbench.devices.gpus import Pace

SWITCHES_PER_S = 10.0
"""Involuntary context switches above this rate are a disturbance: a turn of another process lasts about 3 ms, so
that ten a second take some 3 %; an idle machine shows one to five."""
OTHERS_CORES = 0.1
"""Other processes on our cores disturb from a tenth of a core, or a hundredth of all our cores if that is more."""
LOST_FRACTION = 0.01
"""Steal, quota and GPU throttling disturb from 1 % of the time: the precision that latencies are sampled to."""
CLOCK_CHANGE = 0.05
"""A CPU clock that differs by more than 5 % between the first round and the last is a disturbance."""
GPU_CLOCK_FRACTION = 0.75
"""A GPU at work under three quarters of its highest clock is disturbed."""


class Usage(NamedTuple):
    """What this process, all its threads together, has cost since it began."""

    involuntary_switches: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """What happened around the rounds of one group. Shares are means over the rounds' whole time."""

    rounds: int
    duration_s: float
    involuntary_switches: int
    """Times the scheduler took a core away from this process while it wanted to go on."""
    switched_rounds: tuple[int, ...]
    """Rounds with at least one such switch, from 0."""
    other_cores: float | None
    """Cores' worth of CPU time that other processes used on the cores that this one may use."""
    stolen_cores: float | None
    """Cores' worth of time that the hypervisor gave to other machines."""
    quota_pause_s: float | None
    """Time that a CPU quota held this process's control group back."""
    cpu_mhz: tuple[float, float] | None
    """Clock of the fastest core before and after."""
    gpu_clock_fraction: float | None
    """SM clock after the last round relative to the highest, None if the GPU had gone idle when asked."""
    gpu_throttled: tuple[str, ...]
    """What slowed the GPU down."""
    disturbances: tuple[str, ...]
    """The above where it passes a threshold, in words; empty if nothing did."""


def process_usage() -> Usage:
    """Return what this process has cost so far. Takes about a microsecond."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(involuntary_switches=usage.ru_nivcsw, cpu_s=usage.ru_utime + usage.ru_stime)


class Watch:
    """Watches the rounds of a group.

    Call ``mark`` when the first round is about to start and after each one (``time_interleaved`` does, given it as
    ``on_round``), then ``report``. Only the first mark and the report read more than a counter.

    Args:
        pace: Says how fast the device goes that the calls run on; nothing to say of the processor.
        root: Root of the file system to read from.
        usage: Reads what this process has cost.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        pace: Callable[[], Pace] = Pace,
        root: Path = machine.ROOT,
        usage: Callable[[], Usage] = process_usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pace, self._root, self._usage, self._clock = pace, root, usage, clock
        self._cores = machine.usable_cores()
        self._switches: list[int] = []
        self._before: tuple[_CpuReading, Pace] | None = None

    def mark(self) -> None:
        """Note that a round ends here, or that the first one starts."""
        if self._before is None:
            gpu = self._pace()  # first: it starts a process
            self._before = self._read_cpu(), gpu
        self._switches.append(self._usage().involuntary_switches)

    def report(self) -> Interference:
        """Return what happened between the first mark and now."""
        assert self._before is not None, "report() before the first mark()"
        cpu = _compare_cpu(self._before[0], self._read_cpu())
        gpu = _compare_gpu(self._before[1], self._pace(), cpu.duration_s)
        switches = [later - earlier for earlier, later in pairwise(self._switches)]
        return Interference(
            rounds=len(switches),
            duration_s=cpu.duration_s,
            involuntary_switches=sum(switches),
            switched_rounds=tuple(index for index, count in enumerate(switches) if count),
            other_cores=cpu.other_cores,
            stolen_cores=cpu.stolen_cores,
            quota_pause_s=cpu.quota_pause_s,
            cpu_mhz=cpu.mhz,
            gpu_clock_fraction=gpu.clock_fraction,
            gpu_throttled=gpu.throttled,
            disturbances=(
                *_switching(switches, cpu.duration_s),
                *_cpu_disturbances(cpu, len(self._cores)),
                *_gpu_disturbances(gpu),
            ),
        )

    def _read_cpu(self) -> _CpuReading:
        return _CpuReading(
            mhz=machine.cpu_mhz(self._cores, self._root),
            quota_pause_s=cgroups.quota_pause_s(self._root),
            cpu_time=machine.cpu_time(self._cores, self._root),
            own_s=self._usage().cpu_s,
            time_s=self._clock(),
        )


class _CpuReading(NamedTuple):
    mhz: float | None
    quota_pause_s: float | None
    cpu_time: machine.CpuTime | None
    own_s: float
    time_s: float


class _CpuChange(NamedTuple):
    duration_s: float
    other_cores: float | None
    stolen_cores: float | None
    quota_pause_s: float | None
    mhz: tuple[float, float] | None


class _GpuChange(NamedTuple):
    clock_fraction: float | None
    throttled: tuple[str, ...]


def _compare_cpu(before: _CpuReading, after: _CpuReading) -> _CpuChange:
    duration = after.time_s - before.time_s
    others = stolen = pause = mhz = None
    if before.cpu_time and after.cpu_time and after.cpu_time != before.cpu_time and duration > 0:
        busy = after.cpu_time.busy_s - before.cpu_time.busy_s
        others = max(0.0, busy - (after.own_s - before.own_s)) / duration
        stolen = (after.cpu_time.stolen_s - before.cpu_time.stolen_s) / duration
    if before.quota_pause_s is not None and after.quota_pause_s is not None:
        pause = after.quota_pause_s - before.quota_pause_s
    if before.mhz and after.mhz:
        mhz = before.mhz, after.mhz
    return _CpuChange(duration_s=duration, other_cores=others, stolen_cores=stolen, quota_pause_s=pause, mhz=mhz)


def _compare_gpu(before: Pace, after: Pace, duration_s: float) -> _GpuChange:
    """Prefer the driver's counters, which miss nothing, to what it says at the two ends."""
    if before.slowed_s is None or after.slowed_s is None:
        return _GpuChange(after.clock_fraction, tuple(dict.fromkeys((*before.slowed_by, *after.slowed_by))))
    seconds = {cause: s - before.slowed_s.get(cause, 0.0) for cause, s in after.slowed_s.items()}
    throttled = (f"{cause} for {s:.2g} s" for cause, s in seconds.items() if s > LOST_FRACTION * duration_s)
    return _GpuChange(after.clock_fraction, tuple(throttled))


def _switching(switches: Sequence[int], duration_s: float) -> Iterator[str]:
    if sum(switches) > SWITCHES_PER_S * duration_s:
        disturbed = sum(count > 0 for count in switches)
        yield f"{sum(switches)} involuntary context switches in {disturbed} of {len(switches)} rounds"


def _cpu_disturbances(cpu: _CpuChange, cores: int) -> Iterator[str]:
    if cpu.other_cores is not None and cpu.other_cores > max(OTHERS_CORES, cores / 100):
        yield f"other processes used {100 * cpu.other_cores:.0f} % of a core"
    if cpu.stolen_cores is not None and cpu.stolen_cores > LOST_FRACTION:
        yield f"the hypervisor took {100 * cpu.stolen_cores:.0f} % of a core away"
    if cpu.quota_pause_s is not None and cpu.quota_pause_s > LOST_FRACTION * cpu.duration_s:
        yield f"a CPU quota held the process back for {cpu.quota_pause_s:.2g} s"
    if cpu.mhz is not None and abs(cpu.mhz[1] / cpu.mhz[0] - 1) > CLOCK_CHANGE:
        yield f"the CPU clock went from {cpu.mhz[0]:.0f} to {cpu.mhz[1]:.0f} MHz"


def _gpu_disturbances(gpu: _GpuChange) -> Iterator[str]:
    if gpu.clock_fraction is not None and gpu.clock_fraction < GPU_CLOCK_FRACTION:
        yield f"the GPU ran at {100 * gpu.clock_fraction:.0f} % of its highest clock"
    for cause in gpu.throttled:
        yield f"the GPU was slowed down by {cause}"
