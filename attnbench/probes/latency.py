"""Latency of calls that are to be compared: interleaved rounds in random order, ratios taken within each round.

A call is anything without arguments; the probe knows neither cells nor mechanisms. What slows the machine down for a
while slows every call of a round alike, so it cancels in their ratio.
"""

from __future__ import annotations

import gc
import math
import statistics
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from numpy import ndarray

from attnbench.devices.clock import Call, CpuTimer, Elapsed, Timer
from attnbench.probes.interval import FEWEST_SAMPLES, Estimate, Series, median_estimate, outliers

_NS_PER_S = 1e9


class StoppedBy(StrEnum):
    """What ended the sampling of a call."""

    PRECISION = "precision"
    MAX_TIME = "max-time"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingSettings:
    """How precise, and how long at most.

    A round in progress is finished, and the first ``min_rounds`` are run whatever they cost: six calls of 5 s take
    30 s of a budget of 10 s. Without them there would be no interval, and a figure without one is of no use here.
    """

    precision: float = 0.01
    """Half-width, as a fraction, that the 95 % interval of every ratio is to reach; of every median, if no baseline."""
    max_time_s: float = 10.0
    """Sampling time for each call of the group; the group shares the sum, so a slow call takes none from the others."""
    min_rounds: int = FEWEST_SAMPLES
    """Rounds before the first decision to stop."""
    warmup_calls: int = 3
    """Fewest calls of a warm-up, unless ``warmup_max_s`` ends it before."""
    warmup_s: float = 0.3
    """Shortest warm-up of a call."""
    warmup_max_s: float = 1.5
    """Longest warm-up of a call, which is no longer than ``max_time_s`` either: one that lasts longer is called once.
    Compile before, that is not warming up."""
    grouped: bool = True
    """Whether calls too short for the clock are timed several at a time; not where each is to be prepared by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Everything that was found about one call. Arrays have one entry per round, in the order of the rounds."""

    elapsed_ns: Int64[ndarray, " rounds"]
    """Duration of each sample: of ``calls_per_sample`` calls together."""
    host_ns: Int64[ndarray, " rounds"]
    """Host time of each sample until its calls returned; equal to ``elapsed_ns`` on a CPU."""
    position: Int64[ndarray, " rounds"]
    """Place of the call in the order of its round, from 0."""
    outlier: Bool[ndarray, " rounds"]
    """Samples far from the rest, flagged and kept."""
    calls_per_sample: int
    median: Estimate
    """Seconds per call."""
    p90_s: float
    """90th percentile, seconds per call."""
    ratio: Estimate | None
    """Median of the ratio to the baseline within each round, None without a baseline."""
    stopped_by: StoppedBy
    """Whether this call's interval reached the precision before the time of the group was spent."""

    @property
    def rounds(self) -> int:
        """Number of samples."""
        return len(self.elapsed_ns)

    def to_arrays(self) -> dict[str, ndarray[Any, Any]]:
        """Return every sample with what is needed to read it, as arrays for ``numpy.savez``."""
        return {
            "elapsed_ns": self.elapsed_ns,
            "host_ns": self.host_ns,
            "position": self.position,
            "outlier": self.outlier,
            "calls_per_sample": np.array(self.calls_per_sample),
        }


def _nothing(*_: object) -> None:
    pass


def time_interleaved(
    calls: Mapping[str, Call],
    *,
    baseline: str | None = None,
    settings: TimingSettings | None = None,
    timer: Timer | None = None,
    seed: int = 0,
    on_call: Callable[[int], object] = _nothing,
    on_sample: Callable[[int], object] = _nothing,
    on_round: Callable[[], object] = _nothing,
) -> dict[str, Timing]:
    """Time calls against each other: one sample of each per round, in a fresh random order every round.

    Garbage collection is off meanwhile. Sampling ends when every interval is within ``settings.precision``, looked
    at each time the rounds have grown by a fifth, or when the next round would exceed the time of the group. An
    exception from a call goes through; ``on_call`` has said whose it is.

    Args:
        calls: What to time, by name.
        baseline: Name of the call that ratios are taken to.
        settings: Precision and budgets.
        timer: The clock; the CPU's by default.
        seed: Of the random orders.
        on_call: Told the index of a call before each of its samples, warm-up included, outside the timed part.
        on_sample: Told the index of a call after each of its samples, warm-up left out.
        on_round: Called when warm-up is over and after every round.

    Raises:
        ValueError: the baseline is not among the calls.
    """
    if baseline is not None and baseline not in calls:
        raise ValueError(f"the baseline {baseline!r} is not among the calls to time: {', '.join(calls)}")
    settings, timer = settings or TimingSettings(), timer or CpuTimer()
    tracks = [
        _Track(call=call, announce=partial(on_call, index), sampled=partial(on_sample, index))
        for index, call in enumerate(calls.values())
    ]
    reference = None if baseline is None else tracks[list(calls).index(baseline)]
    with _garbage_collection_off():
        for track in tracks:
            track.warm_up(timer, settings)
        _sample(tracks, reference, settings=settings, timer=timer, seed=seed, on_round=on_round)
    return {
        name: track.timing(reference, precise=_precise(track, tracks, reference, settings.precision))
        for name, track in zip(calls, tracks, strict=True)
    }


@dataclass(slots=True, kw_only=True, eq=False)
class _Track:
    """A call and its samples so far."""

    call: Call
    announce: Callable[[], object]
    sampled: Callable[[], object]
    calls_per_sample: int = 1
    elapsed_ns: array[int] = field(default_factory=lambda: array("q"))
    host_ns: array[int] = field(default_factory=lambda: array("q"))
    position: array[int] = field(default_factory=lambda: array("q"))

    def run(self, timer: Timer) -> Elapsed:
        self.announce()
        elapsed = timer.sample(self.call, self.calls_per_sample)
        assert elapsed.ns > 0, "the clock stood still"
        return elapsed

    def warm_up(self, timer: Timer, settings: TimingSettings) -> None:
        """Call until the medians of consecutive threes agree, and find how many calls a sample needs."""
        start, count, latest = timer.now_ns(), 0, deque[float](maxlen=6)
        longest_s = min(settings.warmup_max_s, settings.max_time_s)
        while True:
            elapsed = self.run(timer)
            count += self.calls_per_sample
            latest.append(elapsed.ns / self.calls_per_sample)
            spent_s = (timer.now_ns() - start) / _NS_PER_S
            enough = count >= settings.warmup_calls and spent_s >= settings.warmup_s
            if spent_s >= longest_s or (enough and _settled(latest)):
                break
            if settings.grouped and elapsed.ns < timer.shortest_ns:
                self.calls_per_sample *= 2
        if settings.grouped:
            self.calls_per_sample = max(1, math.ceil(timer.shortest_ns / statistics.median(latest)))

    def sample(self, timer: Timer, position: int) -> None:
        elapsed = self.run(timer)
        self.elapsed_ns.append(elapsed.ns)
        self.host_ns.append(elapsed.host_ns)
        self.position.append(position)
        self.sampled()

    def seconds(self) -> Series:
        """Return seconds per call, one entry per round."""
        return np.array(self.elapsed_ns, dtype=np.float64) / (self.calls_per_sample * _NS_PER_S)

    def ratio(self, reference: _Track | None) -> Estimate | None:
        return None if reference is None else median_estimate(self.seconds() / reference.seconds())

    def timing(self, reference: _Track | None, *, precise: bool) -> Timing:
        seconds = self.seconds()
        return Timing(
            elapsed_ns=np.array(self.elapsed_ns, dtype=np.int64),
            host_ns=np.array(self.host_ns, dtype=np.int64),
            position=np.array(self.position, dtype=np.int64),
            outlier=outliers(seconds),
            calls_per_sample=self.calls_per_sample,
            median=median_estimate(seconds),
            p90_s=float(np.quantile(seconds, 0.9)),
            ratio=self.ratio(reference),
            stopped_by=StoppedBy.PRECISION if precise else StoppedBy.MAX_TIME,
        )


def _sample(
    tracks: Sequence[_Track],
    reference: _Track | None,
    *,
    settings: TimingSettings,
    timer: Timer,
    seed: int,
    on_round: Callable[[], object],
) -> None:
    """Run rounds until every judged call is precise or the time of the group is spent."""
    rng = np.random.default_rng(seed)
    budget_ns = settings.max_time_s * len(tracks) * _NS_PER_S
    start, rounds, next_look = timer.now_ns(), 0, settings.min_rounds
    on_round()
    while True:
        for position, index in enumerate(rng.permutation(len(tracks)).tolist()):
            tracks[index].sample(timer, position)
        on_round()
        rounds += 1
        if rounds >= next_look:
            if all(_precise(track, tracks, reference, settings.precision) for track in tracks):
                return
            next_look = math.ceil(1.2 * rounds)
        after_one_more = (timer.now_ns() - start) * (rounds + 1) / rounds
        if rounds >= settings.min_rounds and after_one_more > budget_ns:
            return


def _precise(track: _Track, tracks: Sequence[_Track], reference: _Track | None, precision: float) -> bool:
    """Return whether a call's ratio is known well enough, or its median where there is nothing to compare it with.

    The baseline, whose own ratio is 1, is as precise as the least precise of the calls compared with it.
    """
    if track is reference and len(tracks) > 1:
        return all(_precise(other, tracks, reference, precision) for other in tracks if other is not reference)
    ratio = None if track is reference else track.ratio(reference)
    return (ratio or median_estimate(track.seconds())).half_width <= precision


def _settled(latest: deque[float]) -> bool:
    """Return whether the medians of the last three samples and of the three before agree within 5 %."""
    if len(latest) < 6:
        return False
    before, now = statistics.median(list(latest)[:3]), statistics.median(list(latest)[3:])
    return abs(now - before) <= 0.05 * before


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
