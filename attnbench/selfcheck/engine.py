"""The harness against the truth: a layer timed against itself and against itself twice.

The ratio of two latencies is what attnbench is for, and here it is known beforehand: 1 and 2. Beside the engine of
``attnbench run``, other ways of timing get the same calls at the same moment and at least the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import numpy as np
import torch
from torch.utils import benchmark

from attnbench import devices
from attnbench.devices import names
from attnbench.devices.clock import Call, Timer
from attnbench.errors import UsageError
from attnbench.probes.interference import Watch
from attnbench.probes.latency import Timing, TimingSettings, time_interleaved
from attnbench.probes.load import one_core_busy
from attnbench.probes.twins import Twins, layers
from attnbench.selfcheck.trials import TRUTHS, Result, Trial, Way

REPEATS = 20
_SETTINGS = TimingSettings(precision=0.007, max_time_s=1.0, warmup_s=0.1)
"""More precise than a sweep: of intervals of 1 % either way, one in twenty may be off by more, and then 20 repeats have
two that are, which fails the harness, in a quarter of the runs. A sweep may take longer."""
_OTHERS_S = 0.2
"""Least time for each call by the other ways: what torch.utils.benchmark takes unless told."""

Engine = Callable[..., dict[str, Timing]]


def run(
    *,
    repeats: int = REPEATS,
    load: bool = False,
    device: str = "cpu",
    threads: int = 1,
    seed: int = 0,
    twins: Twins | None = None,
    timer: Timer | None = None,
    engine: Engine = time_interleaved,
    on_trial: Callable[[Trial], object] = lambda _: None,
) -> Result:
    """Time each of the known ratios ``repeats`` times, in random order.

    Takes a second for each ratio on a machine that is left alone, and up to six on a busy one.

    Args:
        repeats: Trials of each ratio, at least 1. Under 20 they say little about intervals.
        load: Keep one core busy with another process meanwhile.
        device: Name of a device, such as ``cpu``.
        threads: Intra-op threads of the layer. With as many as there are cores, whatever else runs holds up all of
            them wherever they wait for each other, and no way of timing finds what the layer would take alone.
        seed: Of all orders.
        twins: The calls; a transformer layer by default.
        timer: The clock; the device's own by default.
        engine: What finds the ratios and is to be judged; called as ``time_interleaved`` is.
        on_trial: Told every trial.

    Raises:
        UsageError: the device is not there.
    """
    device = _there(device)
    rng = np.random.default_rng(seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        twins = twins or layers(device)
        on = devices.of(device)
        timer = timer or on.timer()
        watch, trials = Watch(pace=on.pace), list[Trial]()
        with one_core_busy() if load else nullcontext():
            watch.mark()
            for truth in rng.permutation(np.repeat(TRUTHS, repeats)).tolist():
                trials.append(_try(twins, truth, engine=engine, timer=timer, seed=int(rng.integers(2**32))))
                on_trial(trials[-1])
            disturbances = watch.report().disturbances
    finally:
        torch.set_num_threads(before)
    return Result(
        trials=tuple(trials),
        loaded=load,
        device=device,
        threads=threads,
        description=twins.description,
        disturbances=disturbances,
    )


def _there(device: str) -> str:
    try:
        return names.parse(device, devices.present())
    except ValueError as error:
        raise UsageError(f"--device {device!r}: {error}") from None


def _try(twins: Twins, truth: int, *, engine: Engine, timer: Timer, seed: int) -> Trial:
    """Find one ratio in every way, the engine first because the others get its time."""
    marks_ns: list[int] = []

    def mark() -> None:
        twins.wait()  # for nothing, unless the engine leaves samples unfinished
        marks_ns.append(timer.now_ns())

    once, other = twins.once, twins.other(truth)
    calls = {"once": once, "other": other}
    found = engine(calls, baseline="once", settings=_SETTINGS, timer=timer, seed=seed, on_round=mark)
    ratio = found["other"].ratio
    assert ratio is not None, "there is a baseline"
    rounds_ns = marks_ns[-1] - marks_ns[0]
    each_s = max(_OTHERS_S, rounds_ns / 1e9 / len(calls))
    return Trial(
        truth=truth,
        ratios={
            Way.INTERLEAVED: ratio.value,
            Way.BENCHMARK: _benchmark_s(other, twins, timer, each_s) / _benchmark_s(once, twins, timer, each_s),
            Way.ONE_AFTER_THE_OTHER: _in_a_row_s(other, timer, each_s) / _in_a_row_s(once, timer, each_s),
        },
        low=ratio.low,
        high=ratio.high,
        seconds=rounds_ns / 1e9,
        accounted=sum(int(timing.elapsed_ns.sum()) for timing in found.values()) / rounds_ns,
    )


def _benchmark_s(call: Call, twins: Twins, timer: Timer, budget_s: float) -> float:
    """Return a call's median as torch.utils.benchmark finds it, from blocks of calls."""

    def clock_s() -> float:
        twins.wait()
        return timer.now_ns() / 1e9

    timed = benchmark.Timer("call()", globals={"call": call}, timer=clock_s, num_threads=torch.get_num_threads())
    return timed.blocked_autorange(min_run_time=budget_s).median


def _in_a_row_s(call: Call, timer: Timer, budget_s: float) -> float:
    """Return the median of a call's samples, as many as fit into some time."""
    end_ns, samples = timer.now_ns() + budget_s * 1e9, list[int]()
    while not samples or timer.now_ns() < end_ns:
        samples.append(timer.sample(call, 1).ns)
    return median(samples) / 1e9
