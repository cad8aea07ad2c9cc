"""The timing of the cells of a group in turn, and the energy of each after it."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attnbench import files, roofline
from attnbench.devices.clock import Call, Timer
from attnbench.devices.device import Device
from attnbench.probes import interference, latency
from attnbench.record import Cell
from attnbench.runs.job import Job, Running
from attnbench.worker import blame, events, judge
from attnbench.worker.calls import TimedCalls
from attnbench.worker.leftovers import OthersTurns
from attnbench.worker.objection import Objection
from attnbench.worker.ready import Metrics, Ready
from attnbench.worker.surroundings import Surroundings, Turns
from attnbench.worker.witness import Witness

_PROGRESS_EVERY_S = 2.0


def time_in_turn(
    ready: list[Ready],
    job: Job,
    say: events.Say,
    running: Running,
    environment_id: str,
    *,
    device: Device,
    house: Surroundings | None = None,
) -> None:
    """Time the cells in interleaved rounds; one whose call raises gets its row, and the others start again.

    Where timed calls of a plugin have changed the process, no figure of it stands, and the others are left to another.
    """
    clock = _clock(ready, device, say) if ready else None
    while clock and ready:
        say({"event": "phase", "cell": None, "phase": "warming up"})
        turns, others = Turns([one.world for one in ready]), house.others_turns() if house else None
        try:
            found = _time(
                ready, job, say, running, environment_id, device=device, clock=clock, turns=turns, others=others
            )
        except Exception as error:
            index, _ = running.current()
            if blame.blamed(ready, job, say, house, turns, others=others):
                return
            if index is None:  # of no call, and so of no cell
                raise
            say(events.failed(index, error))
            if device.lost():
                return
            ready = [one for one in ready if one.index != index]
        else:
            running.stop()
            if blame.blamed(ready, job, say, house, turns, others=others):
                return
            _finish(ready, found, job, say, device, limits=job.limits.get(environment_id))
            return
        finally:
            running.stop()


class _Clock(NamedTuple):
    """What times calls on a device, and what fills its caches before."""

    timer: Timer
    flush: Call


def _clock(ready: Sequence[Ready], device: Device, say: events.Say) -> _Clock | None:
    """Return a device's clock; where it has no room for what timing needs, none of the cells can be timed."""
    try:
        return _Clock(device.timer(), device.flusher())
    except Exception as error:
        for one in ready:
            say(events.failed(one.index, error))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the timing found of a cell."""

    metrics: Metrics
    objections: tuple[Objection, ...] = ()


def _finish(
    ready: list[Ready],
    found: Mapping[str, _Found],
    job: Job,
    say: events.Say,
    device: Device,
    *,
    limits: Mapping[str, Any] | None,
) -> None:
    """Measure the energy of cells that were timed, if it is asked for, and say of each what was found."""
    for one in ready:
        timed = found[one.cell.key]
        try:
            more = _energy(one, timed.metrics, job, say, device)
            again = judge.measured_again(one.cell, device)
            too_fast = judge.of_time(one.cell, one.found, timed.metrics, limits, again)
        except Exception as error:
            say(events.failed(one.index, error))
            if device.lost():
                return
        else:
            objections = [*timed.objections, *too_fast, *judge.of_figures(one.found)]
            say(events.timed(one.index, timed.metrics | more, objections))


def _energy(one: Ready, timed: Metrics, job: Job, say: events.Say, device: Device) -> Metrics:
    """Return the energy of a cell that was timed, nothing where it is not asked for."""
    if not job.settings.energy or job.assignments[one.index].companion:
        return {}
    from attnbench.worker.energy import measure_energy  # noqa: PLC0415 - scipy.stats: a second, where it is asked for

    events.learn(say, one.index)("timing", timed)  # kept, should this pass bring the process down
    events.enter(say, one.index)("measuring energy")
    with one.world.worn():
        return measure_energy(one, device, at_least_s=job.settings.energy_s, progress=events.progress(say))


def _time(
    ready: list[Ready],
    job: Job,
    say: events.Say,
    running: Running,
    environment_id: str,
    *,
    device: Device,
    clock: _Clock,
    turns: Turns,
    others: OthersTurns | None,
) -> dict[str, _Found]:
    """Return what the timing found of every cell; samples and evidence are on disk then, if there is room."""
    keys = [one.cell.key for one in ready]
    baseline = job.baseline if job.baseline in keys else None
    watch = interference.Watch(pace=device.pace)
    heartbeat = _Heartbeat(say, budget_s=job.settings.max_time_s * len(ready))

    witnesses = _witnesses(ready, running)
    calls = TimedCalls(witnesses, turns, device=device, flush=clock.flush)

    def before_call(index: int) -> None:
        turns.to(None)
        running.start(ready[index].index)
        if others and not job.assignments[ready[index].index].foreign:
            others.begin()
        calls.before(index)

    def after_call(index: int) -> None:
        turns.to(None)
        if others:
            others.end()
        calls.after(index)

    def after_round() -> None:
        running.stop()
        turns.to(None)
        watch.mark()
        heartbeat.beat()

    started = time.monotonic()
    try:
        timings = latency.time_interleaved(
            {one.cell.key: witness.call for one, witness in zip(ready, witnesses, strict=True)},
            baseline=baseline,
            settings=latency.TimingSettings(
                precision=job.settings.precision, max_time_s=job.settings.max_time_s, grouped=False
            ),
            timer=clock.timer,
            seed=job.settings.seed,
            on_call=before_call,
            on_sample=after_call,
            on_round=after_round,
        )
    finally:
        calls.end()
    running.stop()
    share_s = (time.monotonic() - started) / len(ready)
    disturbed = "; ".join(watch.report().disturbances)
    names = {one.cell.key: one.cell.label for one in ready}
    limits = job.limits.get(environment_id)
    reference = {} if baseline is None else _of_baseline(baseline, timings[baseline])
    for one, witness in zip(ready, witnesses, strict=True):
        if not job.assignments[one.index].companion:  # whose row refers to the calls that were kept with it
            arrays = timings[one.cell.key].to_arrays() | reference
            _keep_samples(Path(job.samples) / f"{one.cell.key}.npz", arrays, say, order=keys)
            if job.evidence:
                witness.write(Path(job.evidence) / one.cell.key)
    metrics = {
        one.cell.key: _latency_metrics(one.cell, timings[one.cell.key], per=one.layers)
        | _bound(one, timings[one.cell.key], limits)
        | {
            "latency_clock": clock.timer.clock or None,
            "latency_interference": disturbed or None,
            "baseline": names[baseline] if baseline else None,
            "is_baseline": one.cell.key == baseline,
            "running_s": share_s + float(one.found.get("running_s") or 0),
        }
        for one in ready
    }
    return {
        one.cell.key: _Found(metrics=metrics[one.cell.key], objections=tuple(witness.objections))
        for one, witness in zip(ready, witnesses, strict=True)
    }


def _witnesses(ready: Sequence[Ready], running: Running) -> list[Witness]:
    """Return a witness for every cell; where the memory does not suffice for one, it is known whose it is."""
    found = []
    for one in ready:
        running.start(one.index)
        found.append(Witness(one))
    running.stop()
    return found


def _latency_metrics(cell: Cell, timing: latency.Timing, *, per: int) -> Metrics:
    median, ratio = timing.median, timing.ratio
    return {
        "latency_median_s": median.value / per,
        "latency_ci_low_s": median.low / per,
        "latency_ci_high_s": median.high / per,
        "latency_p90_s": timing.p90_s / per,
        "latency_samples": timing.rounds,
        "latency_outliers": int(timing.outlier.sum()),
        "latency_stopped_by": timing.stopped_by.value,
        "throughput_img_per_s": cell.batch * per / median.value,
        "latency_ratio": ratio.value if ratio else None,
        "latency_ratio_ci_low": ratio.low if ratio else None,
        "latency_ratio_ci_high": ratio.high if ratio else None,
    }


def _bound(one: Ready, timing: latency.Timing, limits: Mapping[str, Any] | None) -> Metrics:
    """Return how near a cell comes to what the machine allows, nothing where that or its work is not known."""
    cell, macs, least = one.cell, one.found.get("macs"), one.found.get("bytes_lower_bound")
    if limits is None or not isinstance(macs, int) or not isinstance(least, int):
        return {}
    machine = roofline.MachineLimits.from_dict(limits)
    if cell.products not in machine.macs_per_s:  # an earlier run's limits, where this one's could not be measured
        return {}
    work = roofline.macs_per_call(macs, batch=cell.batch, mode=cell.mode)
    found = roofline.bound_of_counts(work, least, dtype=cell.products, limits=machine)
    return found.metrics(timing.median.value / one.layers)


def _of_baseline(key: str, timing: latency.Timing) -> dict[str, Any]:
    """Return what a ratio is taken to: a baseline may be timed again later, beside others."""
    names = ("elapsed_ns", "calls_per_sample")
    return {f"baseline_{name}": timing.to_arrays()[name] for name in names} | {"baseline_key": np.array(key)}


def _keep_samples(path: Path, arrays: Mapping[str, Any], say: events.Say, *, order: list[str]) -> None:
    """Write the timed calls of a cell; where that cannot be done, its figures stand without them."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, group=np.array(order), **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have removed it meanwhile
        files.put(path, content.getvalue(), sync=True)  # a row that is on disk refers to it
    except OSError as error:
        say(events.warning(f"cannot write the timed calls to {path}: {error.strerror}; its row has none to look up"))


class _Heartbeat:
    """Says when the warm-up is over, and then now and then how much of the time of a group is spent."""

    def __init__(self, say: events.Say, *, budget_s: float) -> None:
        self._say = say
        self._progress = events.progress(say)
        self._budget_s = budget_s
        self._started: float | None = None
        self._last = 0.0

    def beat(self) -> None:
        now = time.monotonic()
        if self._started is None:
            self._started = self._last = now
            self._say({"event": "phase", "cell": None, "phase": "timing"})
        elif now - self._last >= _PROGRESS_EVERY_S:
            self._last = now
            self._progress(min(1.0, (now - self._started) / self._budget_s))
