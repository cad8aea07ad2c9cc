"""The self-check, on simulated machines: a sound engine passes, and each way of being unsound is found out."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from attnbench.devices.clock import CpuTimer, Elapsed
from attnbench.errors import UsageError
from attnbench.probes.interval import Estimate, median_estimate
from attnbench.probes.latency import Timing, TimingSettings, time_interleaved
from attnbench.probes.load import one_core_busy
from attnbench.probes.twins import Twins, layers
from attnbench.report.page.screen import screen
from attnbench.report.selfcheck import page
from attnbench.selfcheck import engine as selfcheck
from attnbench.selfcheck.trials import Bar, Result, Trial, Way

MS = 1_000_000
WORK_NS = 4 * MS


class RestlessMachine:
    """A clock that work moves: speed that drifts and breaks in, delays now and then, noise alike from call to call."""

    def __init__(self, *, noise: float = 0.008, drift: float = 0.4, seed: int = 0) -> None:
        self.now = 0
        self.noise, self.drift = noise, drift
        self.rng = np.random.default_rng(seed)
        self.lingering = 0.0
        self.slow_until = 0

    def clock(self) -> int:
        return self.now

    def work(self) -> None:
        self.lingering = 0.8 * self.lingering + 0.6 * self.rng.standard_normal()
        if self.rng.random() < 0.01:
            self.slow_until = self.now + 200 * MS
        slowness = 1 + self.drift * np.sin(self.now / (900 * MS)) + (self.now < self.slow_until)
        delay = 3 * MS if self.rng.random() < 0.03 else 0
        noise = np.exp(self.noise * (self.rng.standard_normal() + self.lingering))
        self.now += round(WORK_NS * slowness * noise) + delay

    def twins(self) -> Twins:
        def twice() -> None:
            self.work()
            self.work()

        return Twins(
            once=self.work,
            again=self.work,
            twice=twice,
            wait=lambda: None,
            flush=lambda: None,
            description="simulated layer",
        )


def check(engine: selfcheck.Engine = time_interleaved, *, repeats: int = 20, **machine: float) -> Result:
    simulated = RestlessMachine(**machine)
    timer = CpuTimer(clock=simulated.clock)
    return selfcheck.run(repeats=repeats, twins=simulated.twins(), timer=timer, engine=engine)


def failed(result: Result) -> set[str]:
    """Return what failed, by the first word of the demand that tells."""
    names = {"error of a ratio of 1": "error 1", "error of a ratio of 2": "error 2", "95 %": "coverage", "time": "time"}
    return {
        name for bar in result.bars if not bar.passed for start, name in names.items() if bar.demand.startswith(start)
    }


def remade(timing: Timing, baseline: Timing, kept: np.ndarray) -> Timing:
    """Return a timing of which only some rounds are left."""
    ratio = median_estimate(timing.elapsed_ns[kept] / baseline.elapsed_ns[kept])
    return replace(timing, elapsed_ns=timing.elapsed_ns[kept], ratio=ratio)


def test_a_device_that_is_not_there_is_said_before_anything_is_timed() -> None:
    with pytest.raises(UsageError, match="--device 'cuda:7': torch sees cpu"):
        selfcheck.run(device="cuda:7")


def changed(change: Callable[[Timing], Timing]) -> selfcheck.Engine:
    """Return the engine with what it found of the second call changed."""

    def engine(calls, **how):
        found = time_interleaved(calls, **how)
        return {**found, "other": change(found["other"])}

    return engine


def scaled(interval: float) -> selfcheck.Engine:
    """Return the engine with each end of its intervals moved to ``interval`` times its distance."""

    def change(timing: Timing) -> Timing:
        ratio = timing.ratio
        low, high = (ratio.value + interval * (end - ratio.value) for end in (ratio.low, ratio.high))
        return replace(timing, ratio=Estimate(value=ratio.value, low=low, high=high))

    return changed(change)


# A sound engine


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("noise", [0.004, 0.008])
def test_the_engine_passes_on_a_machine_that_drifts_and_stutters(noise, seed):
    result = check(noise=noise, seed=seed)
    assert failed(result) == set()
    assert result.passed


def test_ways_that_do_not_interleave_are_shown_to_be_worse_there():
    result = check()
    for truth in (1, 2):
        errors = {way: np.median([trial.error(way) for trial in result.of(truth)]) for way in Way}
        assert errors[Way.BENCHMARK] > 3 * errors[Way.INTERLEAVED]
        assert errors[Way.ONE_AFTER_THE_OTHER] > 3 * errors[Way.INTERLEAVED]


def test_every_way_is_right_on_a_machine_that_never_changes():
    machine = RestlessMachine(noise=0.0, drift=0.0)
    machine.rng = np.random.default_rng(0)
    machine.work = lambda: setattr(machine, "now", machine.now + WORK_NS)
    result = selfcheck.run(repeats=2, twins=machine.twins(), timer=CpuTimer(clock=machine.clock))
    assert all(trial.error(way) < 1e-9 for trial in result.trials for way in Way)
    assert result.passed


def test_other_ways_get_no_less_time_than_the_engine(monkeypatch):
    machine, given = RestlessMachine(), []
    plain = selfcheck._in_a_row_s
    monkeypatch.setattr(selfcheck, "_in_a_row_s", lambda *a: given.append(a[-1]) or plain(*a))
    result = selfcheck.run(repeats=2, twins=machine.twins(), timer=CpuTimer(clock=machine.clock))
    engine = np.repeat([trial.seconds / 2 for trial in result.trials], 2)
    assert (np.array(given) >= engine).all()


def test_truths_come_as_often_as_asked_in_an_order_that_the_seed_decides():
    def order(seed: int) -> list[int]:
        machine = RestlessMachine()
        told: list[Trial] = []
        result = selfcheck.run(
            repeats=6, seed=seed, twins=machine.twins(), timer=CpuTimer(clock=machine.clock), on_trial=told.append
        )
        assert tuple(told) == result.trials
        return [trial.truth for trial in told]

    assert sorted(order(1)) == [1] * 6 + [2] * 6
    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != sorted(order(1))


# Broken on purpose


def test_an_engine_that_drops_the_slow_samples_of_one_call_fails():
    def engine(calls, **how):
        found = time_interleaved(calls, **how)
        once, other = found["once"], found["other"]
        kept = other.elapsed_ns <= np.quantile(other.elapsed_ns, 0.7)
        ratio = np.median(other.elapsed_ns[kept]) / np.median(once.elapsed_ns)
        wrong = Estimate(value=ratio, low=0.99 * ratio, high=1.01 * ratio)
        return {"once": once, "other": replace(remade(other, once, kept), ratio=wrong)}

    assert {"error 1", "error 2", "coverage", "time"} <= failed(check(engine))


def test_an_engine_that_drops_slow_samples_of_both_calls_alike_fails():
    def engine(calls, **how):
        found = time_interleaved(calls, **how)
        once = found["once"]
        kept = once.elapsed_ns <= np.quantile(once.elapsed_ns, 0.7)
        return {name: remade(timing, once, kept) for name, timing in found.items()}

    assert "time" in failed(check(engine))


def test_an_engine_that_times_one_call_after_the_other_fails():
    def engine(calls, *, on_round, **how):
        found = {}
        on_round()
        for name, call in calls.items():
            found[name] = time_interleaved({name: call}, **{**how, "baseline": None})[name]
            on_round()
        rounds = np.arange(min(timing.rounds for timing in found.values()))
        return {name: remade(timing, found["once"], rounds) for name, timing in found.items()}

    assert {"error 1", "error 2", "coverage"} <= failed(check(engine))


def test_an_engine_that_never_changes_the_order_fails_where_the_second_of_a_round_is_slower():
    machine = RestlessMachine(drift=0.0)
    turn = count()
    plain = machine.work

    def work() -> None:
        plain()
        machine.now += next(turn) % 2 * MS

    def engine(calls, *, on_round, timer, **how):
        found = time_interleaved(calls, timer=timer, on_round=on_round, **how)
        samples = {name: [] for name in calls}
        for _ in range(60):
            next(turn) if next(turn) % 2 == 0 else None
            for name, call in calls.items():
                samples[name].append(timer.sample(call, 1).ns)
        once, other = (np.array(samples[name]) for name in calls)
        return {**found, "other": replace(found["other"], ratio=median_estimate(other / once))}

    machine.work = work
    result = selfcheck.run(twins=machine.twins(), timer=CpuTimer(clock=machine.clock), engine=engine)
    assert "error 1" in failed(result)


def test_an_engine_that_is_off_by_a_factor_of_two_fails():
    def double(timing: Timing) -> Timing:
        ratio = timing.ratio
        return replace(timing, ratio=Estimate(value=2 * ratio.value, low=2 * ratio.low, high=2 * ratio.high))

    assert {"error 1", "error 2", "coverage"} <= failed(check(changed(double)))


@pytest.mark.parametrize("factor", [0.5, 2])
def test_an_engine_whose_times_are_all_off_by_a_factor_of_two_fails(factor):
    def engine(calls, **how):
        found = time_interleaved(calls, **how)
        return {name: replace(one, elapsed_ns=np.int64(one.elapsed_ns * factor)) for name, one in found.items()}

    assert failed(check(engine)) == {"time"}


def test_intervals_of_a_third_of_their_width_fail():
    assert failed(check(scaled(1 / 3))) == {"coverage"}


def test_intervals_of_five_times_their_width_fail_once_there_are_enough_to_tell():
    assert failed(check(scaled(5), repeats=60)) == {"coverage"}


class Device:
    """A device that works behind the host's back."""

    def __init__(self) -> None:
        self.host = self.device = 0
        self.rng = np.random.default_rng(0)

    def clock(self) -> int:
        return self.host

    def launch(self) -> None:
        self.host += 100_000
        self.device = max(self.host, self.device) + round(60 * MS * np.exp(0.01 * self.rng.standard_normal()))

    def wait(self) -> None:
        self.host = max(self.host, self.device)

    def twins(self) -> Twins:
        def twice() -> None:
            self.launch()
            self.launch()

        calls = {"once": self.launch, "again": self.launch, "twice": twice}
        return Twins(**calls, wait=self.wait, flush=lambda: None, description="simulated device")


class DeviceTimer(CpuTimer):
    """A timer that waits for the device, or does not."""

    def __init__(self, device: Device, *, waits: bool) -> None:
        super().__init__(clock=device.clock)
        self.device, self.waits = device, waits

    def sample(self, call, repeats: int) -> Elapsed:
        start = self.now_ns()
        for _ in range(repeats):
            call()
        if self.waits:
            self.device.wait()
        return Elapsed(ns=self.now_ns() - start, host_ns=0)


def test_a_timer_that_does_not_wait_for_the_device_fails_and_one_that_waits_passes():
    results = {}
    for waits in (True, False):
        device = Device()
        results[waits] = selfcheck.run(twins=device.twins(), timer=DeviceTimer(device, waits=waits))
    assert failed(results[True]) == set()
    assert "time" in failed(results[False])


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_every_run_of_the_layer_finds_the_caches_in_the_state_that_was_asked_for(cache):
    """On a machine whose second run in a row takes half the time, both halves of twice as much work are alike."""
    machine = RestlessMachine(noise=0.0, drift=0.0)
    filled = False

    def work() -> None:
        nonlocal filled
        machine.now += WORK_NS // 2 if filled else WORK_NS
        filled = True

    def flush() -> None:
        nonlocal filled
        machine.now += 50 * MS
        filled = False

    def twice() -> None:
        work()
        work()

    twins = Twins(once=work, again=work, twice=twice, wait=lambda: None, flush=flush, description="simulated layer")
    result = selfcheck.run(repeats=1, cache=cache, twins=twins, timer=CpuTimer(clock=machine.clock))
    for one in result.trials:
        assert one.ratios[Way.INTERLEAVED] == pytest.approx(one.truth)
        assert one.accounted == pytest.approx(1)
    assert result.cache == cache


# Verdicts


def trial(ratio: float, *, truth: int = 1, half: float = 0.01, accounted: float = 0.98) -> Trial:
    ratios = dict.fromkeys(Way, ratio)
    return Trial(truth=truth, ratios=ratios, low=ratio - half, high=ratio + half, seconds=1.0, accounted=accounted)


def result(*ones: Trial, loaded: bool = False) -> Result:
    twos = [trial(2.0, truth=2)] * len(ones)
    return Result(
        trials=(*ones, *twos),
        loaded=loaded,
        device="cpu",
        threads=1,
        cache="cold",
        description="a layer",
        disturbances=("rain",),
    )


@pytest.mark.parametrize(("loaded", "within", "beyond"), [(False, 1.009, 1.011), (True, 1.019, 1.021)])
def test_one_repeat_in_twenty_may_be_off_by_more_than_the_tolerance(loaded, within, beyond):
    good = [trial(within, half=0.03)] * 18
    assert not failed(result(*good, trial(within), trial(beyond, half=0.03), loaded=loaded))
    assert failed(result(*good, trial(beyond, half=0.03), trial(beyond, half=0.03), loaded=loaded)) == {"error 1"}


def test_ninety_percent_of_the_intervals_must_hold_the_truth():
    misses = [trial(1.005, half=0.004)] * 5
    assert not failed(result(*misses[:4], *[trial(1.0)] * 16))
    assert failed(result(*misses, *[trial(1.0)] * 15)) == {"coverage"}


def test_a_result_survives_json():
    found = result(trial(1.0), trial(1.5), trial(1.5))
    loaded = json.loads(json.dumps(found.to_dict()))
    assert loaded["passed"] is False
    assert [Bar(**bar) for bar in loaded["bars"]] == list(found.bars)
    assert tuple(Trial(**one) for one in loaded["trials"]) == found.trials


def test_the_page_says_everything_in_80_columns():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(screen(page(result(*[trial(1.005)] * 2, *[trial(1.5)] * 2, loaded=True))))
    lines = console.export_text().splitlines()
    assert lines[0] == "a layer, on cpu, 1 thread, cold caches, beside a process that keeps a core busy"
    shown = [re.split(r" {2,}", line.strip()) for line in lines]
    assert ["1", "attnbench, interleaved rounds", "25.25%", "50.00%", "2 of 4"] in shown
    assert ["2", "one after the other", "0.00%", "0.00%", "4 of 4"] in shown
    assert ["FAILED", "error of a ratio of 1: at most 2% in 19 of 20 repeats", "2 of 4"] in shown
    assert ["PASSED", "error of a ratio of 2: at most 2% in 19 of 20 repeats", "4 of 4"] in shown
    assert "Meanwhile rain." in lines


# What is timed


def test_every_run_of_a_layer_takes_the_copy_that_rested_longest():
    twins = layers(at_least_s=0)
    ran: list[int] = []

    def note(module, *_):
        if isinstance(module, nn.TransformerEncoderLayer):
            ran.append(id(module))

    hook = nn.modules.module.register_module_forward_hook(note)
    try:
        for call, runs in [
            (twins.once, 1),
            (twins.twice, 2),
            (twins.again, 1),
            (twins.other(2), 2),
            (twins.other(1), 1),
        ]:
            before = len(ran)
            call()
            assert len(ran) - before == runs
    finally:
        hook.remove()
    assert len(set(ran[:3])) == 3
    assert ran[3:] == ran[:-3]


def test_copies_of_a_layer_compute_the_same():
    twins = layers(at_least_s=0)
    outputs = [twins.once() for _ in range(4)]
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_a_layer_grows_until_it_takes_its_time():
    ticks = count(step=0.001)
    durations = iter(np.repeat([0.5, 1.0, 2.0, 4.0], 6).tolist())
    times: list[float] = []

    def clock() -> float:
        times.append(next(ticks) if len(times) % 2 == 0 else times[-1] + next(durations) / 1e3)
        return times[-1]

    assert "8 x 196 tokens" in layers(at_least_s=0.003, clock=clock).description


# The real thing


def test_a_real_layer_is_timed_in_every_way(monkeypatch):
    monkeypatch.setattr(selfcheck, "_SETTINGS", TimingSettings(max_time_s=0.05, warmup_s=0.01, warmup_max_s=0.05))
    monkeypatch.setattr(selfcheck, "_OTHERS_S", 0.01)
    found = selfcheck.run(repeats=1, twins=layers(at_least_s=0))
    assert {trial.truth for trial in found.trials} == {1, 2}
    assert all(0.3 < trial.ratios[way] / trial.truth < 3 for trial in found.trials for way in Way)
    assert all(0.3 < trial.accounted <= 1 for trial in found.trials)


def test_the_number_of_threads_is_as_asked_and_afterwards_as_before():
    before, seen = torch.get_num_threads(), set()
    machine = RestlessMachine()
    twins = replace(machine.twins(), wait=lambda: seen.add(torch.get_num_threads()))
    selfcheck.run(repeats=1, threads=before + 1, twins=twins, timer=CpuTimer(clock=machine.clock))
    assert seen == {before + 1}
    assert torch.get_num_threads() == before


def children(of: int | str = "self") -> list[int]:
    tasks = Path(f"/proc/{of}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])


def test_a_load_spins_on_one_core_and_ends_with_its_block():
    before = set(children())
    with one_core_busy():
        (guardian,) = set(children()) - before
        (pid,) = children(guardian)
        assert len(os.sched_getaffinity(pid)) == 1
        start = ticks(pid)
        while ticks(pid) < start + 5:
            pass
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
