"""The watch on outside disturbances, over described machines and beside a real competitor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial

import pytest

from attnbench.devices import gpus, machine
from attnbench.devices.gpus import Pace
from attnbench.probes.interference import Usage, Watch
from attnbench.probes.latency import TimingSettings, time_interleaved

HERTZ = os.sysconf("SC_CLK_TCK")


class Described:
    """A machine whose files, counters and clock are what a test says."""

    def __init__(self, root) -> None:
        self.root = root
        self.time_s, self.switches, self.own_s = 100.0, 5, 1.0
        self.gpu: dict[str, str] = {}
        self.commands = 0

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def write_cpu_time(self, *, busy_s: float, stolen_s: float = 0.0) -> None:
        core = min(machine.usable_cores())
        busy, stolen = round(busy_s * HERTZ), round(stolen_s * HERTZ)
        self.write("proc/stat", f"cpu  9 9 9 9\ncpu{core} {busy} 0 0 777 5 0 0 {stolen} 0 0\ncpu9999 5 5 5 5 5 5 5 5\n")

    def run(self, arguments) -> str | None:
        self.commands += 1
        fields = next(word for word in arguments if word.startswith("--query-gpu="))[12:].split(",")
        return ", ".join(self.gpu[field] for field in fields) if all(field in self.gpu for field in fields) else None

    def watch(self, gpu: str | None = None) -> Watch:
        return Watch(
            pace=partial(gpus.pace, gpu, run=self.run) if gpu else Pace,
            root=self.root,
            usage=lambda: Usage(involuntary_switches=self.switches, cpu_s=self.own_s),
            clock=lambda: self.time_s,
        )

    def passes(self, seconds: float, *, own_s: float | None = None, switches: int = 0) -> None:
        self.time_s += seconds
        self.own_s += seconds if own_s is None else own_s
        self.switches += switches


@pytest.fixture
def described(tmp_path) -> Described:
    return Described(tmp_path)


def test_nothing_is_reported_of_a_quiet_machine(described):
    described.write_cpu_time(busy_s=50.0)
    described.write("proc/cpuinfo", "processor : 0\ncpu MHz : 3000.0\n")
    described.write("proc/self/cgroup", "0::/\n")
    described.write("sys/fs/cgroup/cpu.stat", "usage_usec 5\nthrottled_usec 700\n")
    watch = described.watch()
    watch.mark()
    for _ in range(4):
        described.passes(1.0, switches=2)
        watch.mark()
    described.write_cpu_time(busy_s=54.0)
    found = watch.report()
    assert found.disturbances == ()
    assert (found.rounds, found.duration_s, found.involuntary_switches) == (4, 4.0, 8)
    assert found.other_cores == pytest.approx(0.0)
    assert found.quota_pause_s == 0.0


def test_what_a_machine_does_not_tell_is_not_measured(described):
    watch = described.watch()
    watch.mark()
    described.passes(1.0)
    watch.mark()
    found = watch.report()
    unknown = (found.other_cores, found.stolen_cores, found.quota_pause_s, found.cpu_mhz, found.gpu_clock_fraction)
    assert unknown == (None,) * 5
    assert found.disturbances == ()
    assert described.commands == 0


def test_the_share_of_other_processes_leaves_our_own_out(described):
    described.write_cpu_time(busy_s=50.0)
    watch = described.watch()
    watch.mark()
    described.passes(10.0, own_s=9.5)
    watch.mark()
    described.write_cpu_time(busy_s=50.0 + 9.5 + 3.7)
    found = watch.report()
    assert found.other_cores == pytest.approx(0.37)
    assert found.disturbances == ("other processes used 37 % of a core",)


def test_switches_are_counted_for_each_round(described):
    watch = described.watch()
    described.passes(1.0, switches=100)
    watch.mark()
    for switches in (0, 7, 0, 5):
        described.passes(0.1, switches=switches)
        watch.mark()
    described.passes(0.0, switches=50)
    found = watch.report()
    assert found.switched_rounds == (1, 3)
    assert found.disturbances == ("12 involuntary context switches in 2 of 4 rounds",)


def test_time_taken_by_the_hypervisor_is_reported(described):
    described.write_cpu_time(busy_s=50.0, stolen_s=1.0)
    watch = described.watch()
    watch.mark()
    described.passes(10.0, own_s=8.0)
    watch.mark()
    described.write_cpu_time(busy_s=58.0, stolen_s=3.0)
    assert watch.report().disturbances == ("the hypervisor took 20 % of a core away",)


def test_a_cpu_quota_is_reported(described):
    described.write("proc/self/cgroup", "0::/\n")
    described.write("sys/fs/cgroup/cpu.stat", "usage_usec 9\nnr_throttled 0\nthrottled_usec 1000000\n")
    watch = described.watch()
    watch.mark()
    described.passes(10.0)
    watch.mark()
    described.write("sys/fs/cgroup/cpu.stat", "usage_usec 9\nnr_throttled 8\nthrottled_usec 2500000\n")
    assert watch.report().disturbances == ("a CPU quota held the process back for 1.5 s",)


def test_a_changed_cpu_clock_is_reported(described):
    core = min(machine.usable_cores())
    clock = f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"
    described.write(clock, "3500000\n")
    watch = described.watch()
    watch.mark()
    described.passes(1.0)
    watch.mark()
    described.write(clock, "2900000\n")
    found = watch.report()
    assert found.cpu_mhz == (3500.0, 2900.0)
    assert found.disturbances == ("the CPU clock went from 3500 to 2900 MHz",)


BUSY_GPU = {
    "clocks.sm": "1980 MHz",
    "clocks.max.sm": "1980 MHz",
    "clocks_event_reasons.active": "0x0000000000000000",
}


def test_a_gpu_at_full_clock_is_no_disturbance(described):
    described.gpu = dict(BUSY_GPU)
    watch = described.watch(gpu="GPU-1")
    watch.mark()
    described.passes(1.0)
    found = watch.report()
    assert found.gpu_clock_fraction == 1.0
    assert found.disturbances == ()


@pytest.mark.parametrize("name", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
def test_a_gpu_slowed_down_is_reported_by_its_flags_whatever_its_driver_calls_them(described, name):
    described.gpu = {"clocks.sm": "1980 MHz", "clocks.max.sm": "1980 MHz", name: "0x0000000000000000"}
    watch = described.watch(gpu="GPU-1")
    watch.mark()
    described.passes(1.0)
    described.gpu |= {"clocks.sm": "990 MHz", name: "0x0000000000000024"}
    assert watch.report().disturbances == (
        "the GPU ran at 50 % of its highest clock",
        "the GPU was slowed down by its power cap",
        "the GPU was slowed down by heat",
    )


def test_a_driver_that_counts_throttling_is_believed_over_its_flags(described):
    counters = "clocks_event_reasons_counters"
    described.gpu = BUSY_GPU | {
        "clocks_event_reasons.active": "0x0000000000000004",
        f"{counters}.sw_power_cap": "1000000 us",
        f"{counters}.sw_thermal_slowdown": "5 us",
        f"{counters}.hw_thermal_slowdown": "0 us",
    }
    watch = described.watch(gpu="GPU-1")
    watch.mark()
    described.passes(10.0)
    described.gpu[f"{counters}.sw_thermal_slowdown"] = "1200005 us"
    assert watch.report().gpu_throttled == ("heat for 1.2 s",)


def test_the_clock_of_a_gpu_gone_idle_says_nothing(described):
    described.gpu = BUSY_GPU | {"clocks.sm": "345 MHz", "clocks_event_reasons.active": "0x0000000000000001"}
    watch = described.watch(gpu="GPU-1")
    watch.mark()
    described.passes(1.0)
    found = watch.report()
    assert found.gpu_clock_fraction is None
    assert found.disturbances == ()


def test_a_real_competitor_for_the_core_is_seen():
    core = min(machine.usable_cores())
    pin = f"import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, [{core}])\n"
    rival = subprocess.Popen([sys.executable, "-c", pin + "print(flush=True)\nwhile True: pass"], stdout=-1)
    try:
        rival.stdout.readline()
        watch = Watch()
        watch.mark()
        time.sleep(0.4)
        watch.mark()
        found = watch.report()
    finally:
        rival.kill()
        rival.communicate()
    assert found.other_cores is None or found.other_cores > 0.1


def test_the_latency_engine_marks_every_round():
    watch = Watch()
    settings = TimingSettings(warmup_s=0.0, warmup_max_s=0.0, max_time_s=0.02)
    found = time_interleaved({"a": lambda: sum(range(10_000))}, settings=settings, on_round=watch.mark)
    assert watch.report().rounds == found["a"].rounds
