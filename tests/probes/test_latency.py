"""The latency engine, driven by a simulated clock: every duration is known, so every claim can be checked."""

from __future__ import annotations

import gc
import io
from collections import Counter
from functools import partial
from statistics import NormalDist

import numpy as np
import pytest
import torch

from attnbench.devices.clock import CpuTimer, Elapsed
from attnbench.devices.cuda import CudaTimer
from attnbench.probes.interval import Estimate, median_estimate, outliers
from attnbench.probes.latency import StoppedBy, TimingSettings, time_interleaved

MS = 1_000_000
QUICK = TimingSettings(warmup_s=0.0, warmup_max_s=0.0)


class SimulatedMachine:
    """A clock that only the calls move, by known durations with known noise."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0
        self.rng = np.random.default_rng(seed)
        self.log: list[str] = []

    def clock(self) -> int:
        return self.now

    def timer(self) -> CpuTimer:
        return CpuTimer(clock=self.clock)

    def call(self, name: str, ns: float, noise: float = 0.0, spikes: float = 0.0, draw=None):
        draw = draw or self.rng.standard_normal

        def run() -> None:
            self.log.append(name)
            factor = np.exp(noise * draw()) if noise else 1.0
            factor *= 5 if spikes and self.rng.random() < spikes else 1
            self.now += round(ns * factor)

        return run


@pytest.fixture
def machine() -> SimulatedMachine:
    return SimulatedMachine()


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def lingering(correlation: float, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return rows of standard normal noise whose neighbours are correlated."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    for i in range(1, shape[1]):
        noise[:, i] = correlation * noise[:, i - 1] + np.sqrt(1 - correlation**2) * noise[:, i]
    return noise


# The interval


@pytest.mark.parametrize("n", [6, 9, 30, 150])
@pytest.mark.parametrize("spread", ["normal", "heavy-tailed"])
def test_interval_covers_the_true_median_in_90_to_99_percent_of_repeats(n, spread):
    rng = np.random.default_rng(n)
    shape = (1000, n)
    noise = rng.standard_normal(shape) if spread == "normal" else rng.standard_t(2, shape)
    covered = np.mean([covers(median_estimate(row), 1.0) for row in np.exp(0.05 * noise)])
    assert 0.90 <= covered <= 0.99


@pytest.mark.parametrize("n", [6, 12, 30, 100])
def test_interval_covers_where_neighbouring_rounds_are_alike(n):
    covered = np.mean([covers(median_estimate(row), 1.0) for row in np.exp(0.05 * lingering(0.4, (600, n)))])
    assert 0.90 <= covered <= 0.99


def test_interval_sees_likeness_that_lasts_for_many_samples_and_is_weak_at_any_lag():
    white = np.random.default_rng(1).standard_normal((300, 300))
    noise = 0.8 * white + 0.6 * lingering(0.95, (300, 300))
    covered = np.mean([covers(median_estimate(row), 1.0) for row in np.exp(0.05 * noise)])
    # The correlation of neighbours alone, which is 0.34, widens too little: 59 %.
    assert covered >= 0.75


@pytest.mark.parametrize("noise", [0.004, 0.01, 0.03])
def test_interval_covers_where_rounds_are_alike_and_sampling_stops_when_it_is_narrow(noise):
    covered = []
    for seed in range(300):
        machine = SimulatedMachine(seed)
        draw = partial(next, iter(lingering(0.3, (1, 2000), seed)[0]))
        calls = {"base": machine.call("base", MS), "other": machine.call("other", MS, noise, draw=draw)}
        found = time_interleaved(calls, baseline="base", timer=machine.timer(), settings=QUICK, seed=seed)
        covered.append(covers(found["other"].ratio, 1.0))
    assert 0.90 <= np.mean(covered) <= 0.99


def test_interval_of_many_independent_samples_is_that_of_the_binomial_distribution():
    n = 100_000
    estimate = median_estimate(np.random.default_rng(1).permutation(np.arange(1.0, n + 1)))
    half = NormalDist().inv_cdf(0.975) * np.sqrt(n) / 2
    assert estimate.value == (n + 1) / 2
    assert half <= estimate.value - estimate.low <= 1.05 * half
    assert half <= estimate.high - estimate.value <= 1.05 * half


def test_interval_of_fewer_is_a_little_wider_because_independence_has_yet_to_show():
    # For n = 100 the 95 % interval of the median lies between the 40th and the 61st value (Conover 1999, table A3).
    estimate = median_estimate(np.random.default_rng(1).permutation(np.arange(1.0, 101.0)))
    assert 38 <= estimate.low <= 40.5
    assert 60.5 <= estimate.high <= 63


def test_interval_is_positive_however_far_samples_scatter():
    estimate = median_estimate(np.exp(3 * lingering(0.95, (1, 200))[0]))
    assert 0 < estimate.low < estimate.value < estimate.high


def test_interval_of_equal_samples_has_no_width():
    assert median_estimate(np.full(10, 3.0)) == Estimate(value=3.0, low=3.0, high=3.0)


def test_outliers_are_those_far_from_the_rest():
    samples = np.array([1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 3.0])
    assert outliers(samples).tolist() == [False] * 6 + [True]


def test_steps_of_the_clock_are_not_outliers():
    assert not outliers(np.array([1000.0] * 9 + [1001.0])).any()


# What is found


def test_latency_and_ratio_are_those_simulated(machine):
    calls = {"base": machine.call("base", 2 * MS, 0.02), "twice": machine.call("twice", 4 * MS, 0.02)}
    found = time_interleaved(calls, baseline="base", timer=machine.timer())
    assert found["base"].median.value == pytest.approx(2e-3, rel=0.01)
    assert found["twice"].median.value == pytest.approx(4e-3, rel=0.01)
    assert found["twice"].ratio.value == pytest.approx(2.0, rel=0.01)
    assert found["twice"].ratio.half_width <= 0.01
    assert found["base"].ratio == Estimate(value=1.0, low=1.0, high=1.0)


@pytest.mark.parametrize(("noise", "repeats"), [(0.004, 1000), (0.03, 300)])
def test_ratio_interval_covers_the_truth_though_sampling_stops_when_it_is_narrow(noise, repeats):
    covered = []
    for seed in range(repeats):
        machine = SimulatedMachine(seed)
        calls = {"base": machine.call("base", MS, noise, 0.05), "other": machine.call("other", 1.3 * MS, noise, 0.05)}
        found = time_interleaved(calls, baseline="base", timer=machine.timer(), settings=QUICK, seed=seed)
        covered.append(covers(found["other"].ratio, 1.3))
    assert 0.90 <= np.mean(covered) <= 0.99


def test_ratio_is_untouched_by_a_machine_that_slows_down(machine):
    def drifting(ns: float):
        def run() -> None:
            machine.now += round(ns * (1 + machine.now / (200 * MS)))

        return run

    settings = TimingSettings(warmup_s=0.0, warmup_max_s=0.0, precision=0.0, max_time_s=0.3)
    found = time_interleaved(
        {"a": drifting(MS), "b": drifting(MS)}, baseline="a", timer=machine.timer(), settings=settings
    )
    assert found["b"].elapsed_ns.max() > 2 * found["b"].elapsed_ns.min()
    assert found["b"].ratio.value == pytest.approx(1.0, abs=0.01)


def test_without_a_baseline_medians_are_what_must_be_precise(machine):
    calls = {"a": machine.call("a", MS, 0.05), "b": machine.call("b", 3 * MS, 0.05)}
    found = time_interleaved(calls, timer=machine.timer())
    assert all(timing.ratio is None for timing in found.values())
    assert all(timing.median.half_width <= 0.01 for timing in found.values())
    assert all(timing.stopped_by is StoppedBy.PRECISION for timing in found.values())


def test_one_call_that_is_its_own_baseline_is_sampled_until_its_median_is_precise(machine):
    found = time_interleaved({"a": machine.call("a", MS, 0.05)}, baseline="a", timer=machine.timer(), settings=QUICK)
    assert found["a"].rounds > QUICK.min_rounds
    assert found["a"].median.half_width <= 0.01


def test_every_call_made_after_the_warm_up_is_a_sample(machine):
    warm: list[int] = []
    calls = {"a": machine.call("a", MS, 0.03, 0.1), "b": machine.call("b", 2 * MS, 0.03, 0.1)}
    found = time_interleaved(calls, baseline="a", timer=machine.timer(), on_round=lambda: warm.append(len(machine.log)))
    made = Counter(machine.log[warm[0] :])
    assert made == {name: timing.rounds for name, timing in found.items()}
    assert len(warm) == found["a"].rounds + 1


def test_outliers_are_flagged_and_kept(machine):
    found = time_interleaved(
        {"a": machine.call("a", MS, 0.01, 0.1)},
        timer=machine.timer(),
        settings=TimingSettings(precision=0, max_time_s=0.5),
    )
    slow = found["a"].elapsed_ns > 4 * MS
    assert slow.any()
    assert np.array_equal(found["a"].outlier, slow)
    assert found["a"].p90_s >= found["a"].median.value


def test_samples_survive_being_saved(machine):
    found = time_interleaved({"a": machine.call("a", 10_000, 0.01)}, timer=machine.timer())["a"]
    file = io.BytesIO()
    np.savez(file, **found.to_arrays())
    file.seek(0)
    loaded = np.load(file)
    assert loaded["elapsed_ns"].dtype == np.int64
    seconds = loaded["elapsed_ns"] / loaded["calls_per_sample"] / 1e9
    assert np.median(seconds) == pytest.approx(found.median.value)
    assert {len(loaded[name]) for name in ("elapsed_ns", "host_ns", "position", "outlier")} == {found.rounds}


def test_a_baseline_that_is_not_among_the_calls_is_refused(machine):
    with pytest.raises(ValueError, match="'c' is not among the calls to time: a, b"):
        time_interleaved({"a": print, "b": print}, baseline="c", timer=machine.timer())


# Order


def test_every_round_holds_each_call_once_in_an_order_of_its_own(machine):
    calls = {name: machine.call(name, MS, 0.05) for name in "abcd"}
    found = time_interleaved(calls, baseline="a", timer=machine.timer())
    orders = np.stack([timing.position for timing in found.values()], axis=1)
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    counts = Counter(map(tuple, orders.tolist()))
    assert len(counts) == 24
    assert max(counts.values()) < len(orders) / 6


def test_positions_are_those_in_which_the_calls_really_ran(machine):
    warm: list[int] = []
    calls = {name: machine.call(name, MS, 0.05) for name in "abc"}
    found = time_interleaved(calls, timer=machine.timer(), on_round=lambda: warm.append(len(machine.log)), seed=5)
    rounds = np.array(machine.log[warm[0] :]).reshape(-1, 3)
    for name, timing in found.items():
        assert np.array_equal(np.argmax(rounds == name, axis=1), timing.position)


def test_the_seed_decides_the_order():
    def order(seed: int) -> list[int]:
        machine = SimulatedMachine()
        calls = {name: machine.call(name, MS) for name in "abcd"}
        return time_interleaved(calls, timer=machine.timer(), settings=QUICK, seed=seed)["a"].position.tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


# Budgets


def test_steady_calls_take_the_fewest_rounds(machine):
    found = time_interleaved({"a": machine.call("a", MS)}, timer=machine.timer(), settings=QUICK)
    assert found["a"].rounds == 6
    assert found["a"].stopped_by is StoppedBy.PRECISION


def test_sampling_stays_within_the_time_of_the_group(machine):
    began: list[int] = []
    calls = {"a": machine.call("a", 30 * MS, 0.5), "b": machine.call("b", 10 * MS, 0.5)}
    settings = TimingSettings(max_time_s=1.0)
    time_interleaved(
        calls, baseline="a", timer=machine.timer(), settings=settings, on_round=lambda: began.append(machine.now)
    )
    spent_s = (began[-1] - began[0]) / 1e9
    assert 1.8 < spent_s < 2.1


def test_each_call_says_whether_its_own_interval_was_reached(machine):
    calls = {
        "base": machine.call("base", MS),
        "steady": machine.call("steady", MS, 0.001),
        "noisy": machine.call("noisy", MS, 0.9),
    }
    settings = TimingSettings(warmup_s=0.0, warmup_max_s=0.0, max_time_s=0.2)
    found = time_interleaved(calls, baseline="base", timer=machine.timer(), settings=settings)
    assert found["steady"].stopped_by == "precision"
    assert found["noisy"].stopped_by == "max-time"
    assert found["base"].stopped_by == "max-time"


def test_a_call_too_long_for_the_budget_still_gets_an_interval_and_one_warm_up(machine):
    calls = {"slow": machine.call("slow", 5000 * MS, 0.1), "quick": machine.call("quick", 20 * MS, 0.1)}
    found = time_interleaved(calls, baseline="quick", timer=machine.timer(), settings=TimingSettings(max_time_s=1.0))
    assert Counter(machine.log)["slow"] == 1 + 6
    assert found["slow"].rounds == found["quick"].rounds == 6
    assert found["slow"].stopped_by is StoppedBy.MAX_TIME


def test_a_slow_call_leaves_the_quick_ones_their_rounds(machine):
    calls = {"slow": machine.call("slow", 500 * MS, 0.2), "quick": machine.call("quick", MS, 0.2)}
    found = time_interleaved(calls, baseline="slow", timer=machine.timer())
    assert found["quick"].rounds >= 35


# Warm-up


def test_warm_up_lasts_three_calls_and_until_the_medians_agree(machine):
    durations = iter([900, 700, 500, 300, 200, 150, 101, 100, 100])

    def settling() -> None:
        machine.now += next(durations, 100) * MS

    warm: list[int] = []
    found = time_interleaved(
        {"a": settling},
        timer=machine.timer(),
        settings=TimingSettings(warmup_max_s=60.0),
        on_round=lambda: warm.append(machine.now),
    )
    assert next(durations, None) is None
    assert (found["a"].elapsed_ns == 100 * MS).all()


def test_warm_up_lasts_its_time(machine):
    began: list[int] = []
    time_interleaved({"a": machine.call("a", MS)}, timer=machine.timer(), on_round=lambda: began.append(machine.now))
    assert 300 * MS <= began[0] <= 302 * MS


@pytest.mark.parametrize(("max_time_s", "longest_ms"), [(10.0, 1500), (0.1, 100)])
def test_warm_up_that_never_settles_ends_and_takes_no_longer_than_the_timing_may(machine, max_time_s, longest_ms):
    began: list[int] = []
    time_interleaved(
        {"a": machine.call("a", MS, 2.0)},
        timer=machine.timer(),
        settings=TimingSettings(warmup_s=60.0, max_time_s=max_time_s),
        on_round=lambda: began.append(machine.now),
    )
    assert longest_ms * MS <= began[0] <= (longest_ms + 200) * MS


# Grouping


def test_calls_too_short_for_the_clock_are_grouped_and_the_time_divided(machine):
    calls = {"tiny": machine.call("tiny", 1000), "long": machine.call("long", MS)}
    found = time_interleaved(calls, baseline="long", timer=machine.timer(), settings=TimingSettings(warmup_s=0.001))
    assert found["tiny"].calls_per_sample == 50
    assert (found["tiny"].elapsed_ns == 50_000).all()
    assert found["tiny"].median.value == pytest.approx(1e-6)
    assert found["tiny"].ratio.value == pytest.approx(1e-3)
    assert found["long"].calls_per_sample == 1


def test_a_grouped_sample_really_makes_its_calls(machine):
    warm: list[int] = []
    found = time_interleaved(
        {"tiny": machine.call("tiny", 1000)},
        timer=machine.timer(),
        settings=TimingSettings(warmup_s=0.001),
        on_round=lambda: warm.append(len(machine.log)),
    )["tiny"]
    assert len(machine.log) - warm[0] == found.calls_per_sample * found.rounds


# Around the calls


def test_on_call_comes_before_each_sample_and_is_not_timed(machine):
    told: list[tuple[int, int]] = []

    def tell(index: int) -> None:
        told.append((index, len(machine.log)))
        machine.now += 50 * MS

    calls = {"a": machine.call("a", MS), "b": machine.call("b", 2 * MS)}
    found = time_interleaved(calls, timer=machine.timer(), settings=QUICK, on_call=tell)
    assert [index for index, _ in told] == ["ab".index(name) for name in machine.log]
    assert [before for _, before in told] == list(range(len(machine.log)))
    assert (found["a"].elapsed_ns == MS).all()


def test_on_sample_comes_after_each_timed_call_and_never_in_the_warm_up(machine):
    told: list[tuple[int, int]] = []
    warm: list[int] = []
    calls = {"a": machine.call("a", MS), "b": machine.call("b", 2 * MS)}
    time_interleaved(
        calls, timer=machine.timer(), settings=QUICK, on_round=lambda: warm.append(len(machine.log)),
        on_sample=lambda index: told.append((index, len(machine.log))),
    )  # fmt: skip
    assert ["ab"[index] for index, _ in told] == machine.log[warm[0] :]
    assert [after for _, after in told] == list(range(warm[0] + 1, len(machine.log) + 1))


def test_calls_that_are_each_prepared_are_not_grouped(machine):
    found = time_interleaved(
        {"tiny": machine.call("tiny", 1000)},
        timer=machine.timer(),
        settings=TimingSettings(warmup_s=0.001, grouped=False),
    )["tiny"]
    assert found.calls_per_sample == 1
    assert (found.elapsed_ns == 1000).all()


def test_garbage_collection_is_off_meanwhile_and_on_again(machine):
    seen: set[bool] = set()
    plain = machine.call("a", MS)

    def call() -> None:
        seen.add(gc.isenabled())
        plain()

    time_interleaved({"a": call}, timer=machine.timer(), settings=QUICK)
    assert seen == {False}
    assert gc.isenabled()


def test_garbage_collection_that_was_off_stays_off(machine):
    gc.disable()
    try:
        time_interleaved({"a": machine.call("a", MS)}, timer=machine.timer(), settings=QUICK)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_error_goes_through_names_its_call_and_leaves_garbage_collection_on(machine):
    told: list[int] = []

    def broken() -> None:
        if told.count(1) > 2:
            raise MemoryError("no room")
        machine.now += MS

    with pytest.raises(MemoryError, match="no room"):
        time_interleaved(
            {"a": machine.call("a", MS), "b": broken}, timer=machine.timer(), settings=QUICK, on_call=told.append
        )
    assert told[-1] == 1
    assert gc.isenabled()


def test_the_real_clock_finds_a_factor_of_two():
    x = torch.randn(64, 64)

    def work(times: int):
        def run() -> None:
            for _ in range(times):
                torch.mm(x, x)

        return run

    settings = TimingSettings(max_time_s=0.5, warmup_s=0.02, precision=0.02)
    found = time_interleaved({"once": work(20), "twice": work(40)}, baseline="once", settings=settings)
    assert 1.7 < found["twice"].ratio.value < 2.3


# CUDA, without a GPU


class SimulatedGpu:
    """A device that works behind the host's back, with the parts of ``torch.cuda`` that the timer uses."""

    def __init__(self, launch_ns: int = 5_000) -> None:
        self.host, self.device, self.synchronised, self.elsewhere = 0, 0, 0, 0
        self.launch_ns = launch_ns
        self.waited_for: list[object] = []

    def clock(self) -> int:
        return self.host

    def launch(self, ns: int):
        def run() -> None:
            self.host += self.launch_ns
            self.device = max(self.device, self.host) + ns

        return run

    def synchronize(self, device: object) -> None:
        self.waited_for.append(device)
        self.host = self.synchronised = max(self.host, self.device, self.elsewhere)

    def current_stream(self, device: object) -> str:
        return f"stream of {device}"

    def Event(self, *, enable_timing: bool):  # noqa: N802 - torch's name
        assert enable_timing
        return SimulatedEvent(self)


class SimulatedEvent:
    def __init__(self, gpu: SimulatedGpu) -> None:
        self.gpu = gpu

    def record(self, stream: str) -> None:
        assert stream == "stream of cpu"
        self.at = max(self.gpu.device, self.gpu.host)

    def synchronize(self) -> None:
        self.gpu.host = self.gpu.synchronised = max(self.gpu.host, self.at)

    def elapsed_time(self, end: SimulatedEvent) -> float:
        if end.at > self.gpu.synchronised:
            raise RuntimeError("both events must be completed before the time between them is known")
        return (end.at - self.at) / 1e6


def test_cuda_time_is_the_device_s_with_the_host_s_beside_it():
    gpu = SimulatedGpu()
    timer = CudaTimer("cpu", cuda=gpu, clock=gpu.clock)
    assert timer.sample(gpu.launch(2 * MS), 1) == Elapsed(ns=2 * MS + 5_000, host_ns=5_000)


def test_cuda_time_is_read_after_waiting_for_the_device_that_was_used():
    gpu = SimulatedGpu()
    CudaTimer("cpu", cuda=gpu, clock=gpu.clock).sample(gpu.launch(MS), 1)
    assert gpu.waited_for == ["cpu"]


def test_a_cuda_call_does_not_run_in_the_shadow_of_the_one_before():
    gpu = SimulatedGpu()
    timer = CudaTimer("cpu", cuda=gpu, clock=gpu.clock)
    alone = timer.sample(gpu.launch(1_000), 1)
    timer.sample(gpu.launch(50 * MS), 1)
    assert timer.sample(gpu.launch(1_000), 1) == alone


def test_what_a_cuda_call_leaves_on_another_stream_is_waited_for_and_is_its_time():
    gpu = SimulatedGpu()
    timer = CudaTimer("cpu", cuda=gpu, clock=gpu.clock)

    def on_two_streams() -> None:
        gpu.launch(MS)()
        gpu.elsewhere = gpu.host + 5 * MS

    assert timer.sample(on_two_streams, 1).ns == pytest.approx(5 * MS, rel=0.01)


def test_interleaving_works_on_cuda_s_timer():
    gpu = SimulatedGpu(launch_ns=10)
    timer = CudaTimer("cpu", cuda=gpu, clock=gpu.clock)
    found = time_interleaved(
        {"a": gpu.launch(MS), "b": gpu.launch(2 * MS)},
        baseline="a",
        timer=timer,
        settings=TimingSettings(warmup_s=0.01),
    )
    assert found["b"].ratio.value == pytest.approx(2.0, rel=1e-3)
    assert (found["b"].host_ns == 10).all()
