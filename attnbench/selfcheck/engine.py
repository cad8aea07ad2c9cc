"""The harness against the truth: a layer timed against itself and against itself twice.

The ratio of two latencies is what attnbench is for, and here it is known beforehand: 1 and 2. Beside the engine of
``attnbench run``, with as many threads and the caches in the same state, other ways of timing get the same calls at the
same moment and at least the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import numpy as np
import torch
from torch.utils import benchmark

from attnbench import devices
from attnbench.axes import COLD
from attnbench.devices import environment, names
from attnbench.devices.clock import Call, Elapsed, Timer
from attnbench.errors import UsageError
from attnbench.probes.interference import Watch
from attnbench.probes.latency import Timing, TimingSettings, time_interleaved
from attnbench.probes.load import one_core_busy
from attnbench.probes.twins import Twins, layers
from attnbench.selfcheck.kept import TimingPlace
from attnbench.selfcheck.trials import TRUTHS, Result, Trial, Way

REPEATS = 20
_SETTINGS = TimingSettings(precision=0.007, max_time_s=2.0, warmup_s=0.1, grouped=False)
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
    cache: str = COLD,
    seed: int = 0,
    twins: Twins | None = None,
    timer: Timer | None = None,
    engine: Engine = time_interleaved,
    on_trial: Callable[[Trial], object] = lambda _: None,
) -> Result:
    """Time each of the known ratios ``repeats`` times, in random order.

    Takes a few seconds for each trial, on a machine that is left alone fewer than on a busy one.

    Args:
        repeats: Trials of each ratio, at least 1. Under 20 they say little about intervals.
        load: Keep one core busy with another process meanwhile.
        device: Name of a device, such as ``cpu``.
        threads: Intra-op threads of the layer. With as many as there are cores, whatever else runs holds up all of
            them wherever they wait for each other, and no way of timing finds what the layer would take alone.
        cache: What caches hold before a call that the engine times: ``cold``, other data, or ``warm``, the call's own.
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
                trials.append(
                    _try(twins, truth, engine=engine, timer=timer, cache=cache, seed=int(rng.integers(2**32)))
                )
                on_trial(trials[-1])
            disturbances = watch.report().disturbances
    finally:
        torch.set_num_threads(before)
    return Result(
        trials=tuple(trials),
        loaded=load,
        device=device,
        threads=threads,
        cache=cache,
        description=twins.description,
        disturbances=disturbances,
    )


def here(device: str, threads: int) -> TimingPlace:
    """Return the place that a self-check of a device is made at: it is the rows' of a run that was timed there.

    Raises:
        UsageError: the device is not there.
    """
    device = _there(device)
    hardware = environment.take(threads=threads, device=device).to_dict()["hardware"]
    return TimingPlace(hardware=str(hardware), device=device, threads=threads)


def _there(device: str) -> str:
    try:
        return names.parse(device, devices.present())
    except ValueError as error:
        raise UsageError(f"--device {device!r}: {error}") from None


class _PreparedTimer:
    """Times each run of the layer from the same state of the caches, and knows what bringing it about took.

    A call that runs it twice is two samples, added: the second of two runs in a row finds caches that the first has
    filled, so that together they would take less than twice the time.

    Args:
        timer: the clock.
        twins: the calls.
        cache: what caches are to hold before a run: ``cold``, other data, or ``warm``, the run's own.
    """

    def __init__(self, timer: Timer, twins: Twins, cache: str) -> None:
        self.now_ns, self.shortest_ns, self.clock = timer.now_ns, timer.shortest_ns, timer.clock
        self.prepared_ns = 0
        self._timer, self._twins, self._cold = timer, twins, cache == COLD

    def sample(self, call: Call, repeats: int) -> Elapsed:
        """Run a call ``repeats`` times and return how long its runs of the layer took."""
        twins = self._twins
        runs = (twins.once, twins.again) if call == twins.twice else (call,)
        parts = [self._sample(run) for _ in range(repeats) for run in runs]
        return Elapsed(ns=sum(part.ns for part in parts), host_ns=sum(part.host_ns for part in parts))

    def _sample(self, run: Call) -> Elapsed:
        self._twins.wait()  # what a timer has left unfinished is no preparation
        start_ns = self.now_ns()
        (self._twins.flush if self._cold else run)()
        self._twins.wait()
        self.prepared_ns += self.now_ns() - start_ns
        return self._timer.sample(run, 1)


def _try(twins: Twins, truth: int, *, engine: Engine, timer: Timer, cache: str, seed: int) -> Trial:
    """Find one ratio in every way, the engine first because the others get its time."""
    prepared = _PreparedTimer(timer, twins, cache)
    marks_ns: list[int] = []

    def mark() -> None:
        twins.wait()  # for nothing, unless the engine leaves samples unfinished
        marks_ns.append(timer.now_ns() - prepared.prepared_ns)

    once, other = twins.once, twins.other(truth)
    calls = {"once": once, "other": other}
    found = engine(calls, baseline="once", settings=_SETTINGS, timer=prepared, seed=seed, on_round=mark)
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
