import json
from collections.abc import Callable

import pytest
import torch
from torch.utils.benchmark import Timer as TorchTimer
from torch.utils.flop_counter import FlopCounterMode

from attnbench.devices.clock import Call, CpuTimer, Elapsed
from attnbench.devices.figures import Extent
from attnbench.probes import limits
from attnbench.probes.limits import Kernel, best_rate
from attnbench.roofline import MachineLimits

SMALL = Extent(sides=(64, 128), array_bytes=4096)
MACS_PER_S, BYTES_PER_S = 3e9, 7e9
ARRAYS_MOVED = {"sum": 1, "copy_": 2, "add_": 3}


class FakeClock:
    """A clock that only its calls move on."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def call(self, *durations_s: float) -> Call:
        """Return a call that takes these times in turn, the last one ever after."""
        left = list(durations_s)

        def run() -> None:
            self.now_ns += round(1e9 * (left.pop(0) if len(left) > 1 else left[0]))

        return run


class PretendMachine:
    """Runs every call, and says that it took what torch's count of its FLOPs, or its arrays, take at fixed rates."""

    shortest_ns = 0

    def __init__(self) -> None:
        self._now = 0.0
        self.threads: set[int] = set()

    def now_ns(self) -> int:
        return round(self._now)

    def sample(self, call: Call, repeats: int) -> Elapsed:
        assert repeats == 1
        self.threads.add(torch.get_num_threads())
        name = getattr(call, "func", call).__name__
        if name in ARRAYS_MOVED:
            call()
            took_s = ARRAYS_MOVED[name] * SMALL.array_bytes / BYTES_PER_S
        else:
            took_s = multiply_adds(call) / MACS_PER_S
        self._now += 1e9 * took_s
        return Elapsed(ns=round(1e9 * took_s), host_ns=round(1e9 * took_s))


def multiply_adds(call: Call) -> float:
    with torch.inference_mode(mode=False), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 2


def rate(*kernels: Kernel, clock: FakeClock, budget_s: float = 1.0) -> float:
    return best_rate(kernels, timer=CpuTimer(clock), budget_s=budget_s)


def test_the_rate_is_the_work_over_the_time() -> None:
    clock = FakeClock()
    assert rate(Kernel(clock.call(0.01), 5_000), clock=clock) == pytest.approx(500_000)


def test_twice_the_work_in_twice_the_time_is_the_same_rate() -> None:
    clock = FakeClock()
    kernels = Kernel(clock.call(0.01), 5_000), Kernel(clock.call(0.02), 10_000)
    assert rate(*kernels, clock=clock) == pytest.approx(500_000)


def test_the_fastest_kernel_sets_the_rate() -> None:
    clock = FakeClock()
    kernels = Kernel(clock.call(0.01), 5_000), Kernel(clock.call(0.005), 5_000), Kernel(clock.call(0.02), 5_000)
    assert rate(*kernels, clock=clock) == pytest.approx(1_000_000)


def test_disturbed_samples_do_not_lower_the_rate() -> None:
    clock = FakeClock()
    assert rate(Kernel(clock.call(0.3, 0.01, 0.2, 0.01, 0.1), 5_000), clock=clock) == pytest.approx(500_000)


def test_a_time_that_was_not_reached_again_does_not_count() -> None:
    clock = FakeClock()
    assert rate(Kernel(clock.call(0.01, 0.0001, 0.01), 5_000), clock=clock) == pytest.approx(500_000)


def test_a_kernel_that_would_exceed_the_budget_is_not_started() -> None:
    clock, started = FakeClock(), []
    huge = Kernel(lambda: started.append(True), 10_000_000)
    assert rate(Kernel(clock.call(0.01), 5_000), huge, clock=clock) == pytest.approx(500_000)
    assert not started
    assert clock.now_ns == pytest.approx(1e9, rel=0.02)


def test_a_kernel_that_cannot_be_timed_twice_takes_no_time_from_the_others() -> None:
    clock, made = FakeClock(), []
    large = clock.call(0.5)
    kernels = [Kernel(clock.call(0.1), 1), Kernel(lambda: (made.append(1), large()), 5)]
    assert rate(*kernels, clock=clock) == pytest.approx(10)
    assert not made


def test_a_slow_first_sample_does_not_keep_larger_kernels_out_for_good() -> None:
    clock = FakeClock()
    kernels = Kernel(clock.call(0.3, 0.001), 5_000), Kernel(clock.call(0.01), 100_000)
    assert rate(*kernels, clock=clock) == pytest.approx(10_000_000)


def test_the_first_kernel_is_timed_twice_whatever_the_budget() -> None:
    clock = FakeClock()
    assert rate(Kernel(clock.call(10.0), 5_000), clock=clock, budget_s=0.1) == pytest.approx(500)
    assert clock.now_ns == 20e9


def test_a_whole_measurement_finds_the_rates_of_a_pretended_machine() -> None:
    found = limits.measure("cpu", ["float32", "bfloat16"], 1, budget_s=0.01, timer=PretendMachine(), extent=SMALL)
    # The pretended clock ticks in nanoseconds.
    assert found.macs_per_s == pytest.approx({"float32": MACS_PER_S, "bfloat16": MACS_PER_S}, rel=1e-3)
    assert found.bytes_per_s == pytest.approx(BYTES_PER_S, rel=1e-3)
    assert (found.device, found.threads) == ("cpu", 1)


@pytest.mark.parametrize("kernel", [0, 1])
def test_both_products_have_the_multiply_adds_that_torch_counts(kernel: int) -> None:
    found = limits.products(128, torch.float32)[kernel]
    assert found.work == multiply_adds(found.call) == 128**3


def test_the_convolution_is_a_product_of_the_same_size() -> None:
    linear, convolution, _ = (kernel.call() for kernel in limits.products(128, torch.bfloat16))
    assert isinstance(linear, torch.Tensor)
    assert isinstance(convolution, torch.Tensor)
    assert linear.numel() == convolution.numel() == 128**2
    assert linear.dtype == convolution.dtype == torch.bfloat16


def test_the_batched_products_are_those_of_queries_and_keys() -> None:
    batched = limits.products(128, torch.float32)[2]
    assert batched.work == multiply_adds(batched.call) == 8 * 128 * 128 * 64


def test_the_spread_is_that_of_the_next_best_samples_of_the_fastest_kernel() -> None:
    clock = FakeClock()
    slow, fast = Kernel(clock.call(0.03), 5_000), Kernel(clock.call(0.012, 0.009, 0.01, 0.011, 0.5), 5_000)
    found = limits.best([slow, fast], timer=CpuTimer(clock), budget_s=0.7)
    assert found.per_s == pytest.approx(500_000)
    assert found.spread == pytest.approx(49)  # the slowest of the five that there are


def test_two_samples_are_as_uncertain_as_they_differ() -> None:
    clock = FakeClock()
    found = limits.best([Kernel(clock.call(0.8, 1.0), 5_000)], timer=CpuTimer(clock), budget_s=1.0)
    assert found.per_s == pytest.approx(5_000)
    assert found.spread == pytest.approx(0.25)


def test_limits_of_earlier_versions_have_no_uncertainty_and_are_read() -> None:
    fields = {"device": "cpu", "threads": 1, "macs_per_s": {"float32": 1e9}, "bytes_per_s": 1e9}
    assert MachineLimits.from_dict(fields).least_s(1.25e9, "float32") == pytest.approx(1.0)


def test_passes_move_one_two_and_three_arrays() -> None:
    assert [kernel.work for kernel in limits.passes(4096)] == [4096, 8192, 12288]
    assert all(isinstance(kernel.call(), torch.Tensor) for kernel in limits.passes(4096))


@pytest.mark.parametrize("make", [lambda: limits.products(64, torch.float32)[0], lambda: limits.passes(4096)[1]])
def test_the_rate_is_that_of_torchs_own_timer_on_the_same_clock(make: Callable[[], Kernel]) -> None:
    kernel, clock = make(), FakeClock()
    drifting = clock.call(0.004, 0.002)

    def timed() -> None:
        kernel.call()
        drifting()

    ours = rate(Kernel(timed, kernel.work), clock=clock)
    theirs = TorchTimer("timed()", globals={"timed": timed}, timer=lambda: clock.now_ns / 1e9).timeit(10)
    assert ours == pytest.approx(kernel.work / theirs.median)


def test_a_measurement_by_the_real_clock_gives_rates_and_leaves_the_threads_as_they_were() -> None:
    before, machine = torch.get_num_threads(), PretendMachine()
    found = limits.measure("cpu", ["float32"], before, budget_s=0.02, extent=SMALL)
    assert found.macs_per_s["float32"] > 0
    assert found.bytes_per_s > 0
    assert MachineLimits.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    limits.measure("cpu", ["float32"], before + 1, budget_s=0.01, timer=machine, extent=SMALL)
    assert machine.threads == {before + 1}
    assert torch.get_num_threads() == before
