"""The child that measures: a job in, events out. The one place where cells, modules and probes meet.

Run as ``python -m attnbench.worker.main JOB EVENT_FD``. What goes wrong with a cell is said as the cell's outcome; what
ends the process is the runner's to tell.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attnbench import devices, roofline
from attnbench.devices import attention, environment
from attnbench.devices.clock import Timer
from attnbench.devices.device import Device
from attnbench.errors import PluginError
from attnbench.probes import interference, latency, memory
from attnbench.record import Cell, Status, Task
from attnbench.runs.job import Assignment, Event, Job, Running
from attnbench.worker import torch_state
from attnbench.worker.phases import Metrics, Ready, Unmeasurable, count_only, prepare

Say = Callable[[Event], None]

_PROGRESS_EVERY_S = 2.0


def work(job: Job, say: Say, running: Running) -> None:
    """Measure the cells of a job, each by itself first and then all of them in turn."""
    first = job.assignments[0].cell
    device = devices.of(first.device)
    device.set_up(threads=first.threads)
    taken = environment.take(threads=first.threads, device=first.device)
    say({"event": "environment", "environment": taken.to_dict()})
    ready: list[Ready] = []
    for index, assignment in enumerate(job.assignments):
        try:
            with torch_state.restored(seed_included=False) as changes:
                held = sum(one.parameters_bytes for one in ready)
                outcome = _by_itself(index, assignment, job, say, held_bytes=held)
            if changes:
                _learn(say, index)("setting torch back", {"torch_flags_restored": "; ".join(changes)})
            if isinstance(outcome, Ready):
                ready.append(outcome)
            else:
                say(_done(index, outcome))
        except Exception as error:  # a plugin may raise anything; it costs the others nothing
            say(_failed(index, error))
            if device.lost():
                return
    time_in_turn(ready, job, say, running, taken.environment_id, device=device)


def _by_itself(index: int, assignment: Assignment, job: Job, say: Say, *, held_bytes: int) -> Ready | Metrics:
    """Return a cell that is to be timed, or what else is to be said of one that is not."""
    enter = _enter(say, index)
    if assignment.cell.task is Task.ACCURACY:
        from attnbench.worker.scoring import measure_accuracy  # noqa: PLC0415 - scipy.stats: a second, for these cells only

        return measure_accuracy(assignment.cell, job.settings, enter, _progress(say))
    learn = _learn(say, index)
    if assignment.cell.task is Task.COUNTS:
        count_only(assignment, enter, learn)
        return {}
    ready = prepare(index, assignment, job.settings, enter, learn, held_bytes=held_bytes)
    return ready if assignment.cell.task is Task.COST else {}


def time_in_turn(
    ready: list[Ready], job: Job, say: Say, running: Running, environment_id: str, *, device: Device
) -> None:
    """Time the cells in interleaved rounds; one whose call raises gets its row, and the others start again."""
    if not ready:
        return
    try:
        timer = device.timer()
    except Exception as error:  # the device has no room for what timing needs
        for one in ready:
            say(_failed(one.index, error))
        return
    while ready:
        say({"event": "phase", "cell": None, "phase": "timing"})
        try:
            metrics = _time(ready, job, say, running, environment_id, device=device, timer=timer)
        except Exception as error:
            index, _ = running.current()
            assert index is not None, "an exception between the calls"
            say(_failed(index, error))
            if device.lost():
                return
            ready = [one for one in ready if one.index != index]
        else:
            running.stop()
            _finish(ready, metrics, job, say, device)
            return
        finally:
            running.stop()


def _finish(ready: list[Ready], metrics: Mapping[str, Metrics], job: Job, say: Say, device: Device) -> None:
    """Measure the energy of cells that were timed, if it is asked for, and say of each that it is done."""
    for one in ready:
        try:
            more = _energy(one, metrics[one.cell.key], job, say, device)
        except Exception as error:
            say(_failed(one.index, error))
            if device.lost():
                return
        else:
            say(_done(one.index, metrics[one.cell.key] | more))


def _energy(one: Ready, timed: Metrics, job: Job, say: Say, device: Device) -> Metrics:
    """Return the energy of a cell that was timed, nothing where it is not asked for."""
    if not job.settings.energy or job.assignments[one.index].companion:
        return {}
    from attnbench.worker.energy import measure_energy  # noqa: PLC0415 - scipy.stats: a second, where it is asked for

    _learn(say, one.index)("timing", timed)  # kept, should this pass bring the process down
    _enter(say, one.index)("measuring energy")
    return measure_energy(one, device, at_least_s=job.settings.energy_s, progress=_progress(say))


def _time(
    ready: list[Ready], job: Job, say: Say, running: Running, environment_id: str, *, device: Device, timer: Timer
) -> dict[str, Metrics]:
    """Return the latency metrics of every cell; the raw samples are on disk when this returns."""
    keys = [one.cell.key for one in ready]
    baseline = job.baseline if job.baseline in keys else None
    watch = interference.Watch(pace=device.pace)
    heartbeat = _Heartbeat(_progress(say), budget_s=job.settings.max_time_s * len(ready))

    kernels = attention.Kernels()

    def before_call(index: int) -> None:
        kernels.allow(ready[index].cell.sdpa)
        running.start(ready[index].index)

    def after_round() -> None:
        watch.mark()
        heartbeat.beat()

    started = time.monotonic()
    timings = latency.time_interleaved(
        {one.cell.key: one.call for one in ready},
        baseline=baseline,
        settings=latency.TimingSettings(precision=job.settings.precision, max_time_s=job.settings.max_time_s),
        timer=timer,
        seed=job.settings.seed,
        on_call=before_call,
        on_round=after_round,
    )
    kernels.allow(attention.AUTO)
    share_s = (time.monotonic() - started) / len(ready)
    disturbed = "; ".join(watch.report().disturbances)
    names = {one.cell.key: one.cell.label for one in ready}
    limits = job.limits.get(environment_id)
    for one in ready:
        _keep_samples(Path(job.samples) / f"{one.cell.key}.npz", timings[one.cell.key], order=keys)
    return {
        one.cell.key: _latency_metrics(one.cell, timings[one.cell.key], per=one.layers)
        | _bound(one, timings[one.cell.key], limits)
        | {
            "latency_interference": disturbed or None,
            "baseline": names[baseline] if baseline else None,
            "is_baseline": one.cell.key == baseline,
            "running_s": share_s + float(one.found.get("running_s") or 0),
        }
        for one in ready
    }


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
        "throughput_img_per_s": cell.batch / median.value,
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
    if cell.dtype not in machine.macs_per_s:  # an earlier run's limits, where this one's could not be measured
        return {}
    work = roofline.macs_per_call(macs, batch=cell.batch, mode=cell.mode)
    found = roofline.bound_of_counts(work, least, dtype=cell.dtype, limits=machine)
    return found.metrics(timing.median.value / one.layers)


def _keep_samples(path: Path, timing: latency.Timing, *, order: list[str]) -> None:
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, group=np.array(order), **timing.to_arrays())
    beside.replace(path)


class _Heartbeat:
    """Says now and then how much of the time of a group is spent."""

    def __init__(self, progress: Callable[[float], None], *, budget_s: float) -> None:
        self._progress = progress
        self._budget_s = budget_s
        self._started = self._last = time.monotonic()

    def beat(self) -> None:
        now = time.monotonic()
        if now - self._last >= _PROGRESS_EVERY_S:
            self._last = now
            self._progress(min(1.0, (now - self._started) / self._budget_s))


def _enter(say: Say, index: int) -> Callable[[str], None]:
    return lambda phase: say({"event": "phase", "cell": index, "phase": phase})


def _learn(say: Say, index: int) -> Callable[[str, Metrics], None]:
    return lambda phase, metrics: say({"event": "metrics", "cell": index, "phase": phase, "metrics": metrics})


def _progress(say: Say) -> Callable[[float], None]:
    return lambda fraction: say({"event": "progress", "fraction": fraction})


def _done(index: int, metrics: Metrics) -> Event:
    return {"event": "done", "cell": index, "status": Status.OK, "reason": "", "metrics": metrics}


def _failed(index: int, error: Exception) -> Event:
    status, reason = _verdict(error)
    return {"event": "done", "cell": index, "status": status, "reason": reason, "metrics": {}}


def _verdict(error: Exception) -> tuple[Status, str]:
    said = " ".join(str(error).split())[:500]
    if isinstance(error, Unmeasurable):
        return error.status, error.reason
    if memory.ran_out(error):
        return Status.OUT_OF_MEMORY, said
    if isinstance(error, PluginError):
        return Status.FAILED, said
    return Status.FAILED, f"{type(error).__name__}: {said}"


def main(job: Path, sending: int) -> None:
    """Do a job, saying what happens on a file descriptor."""
    with os.fdopen(sending, "w", buffering=1) as pipe:
        work(
            Job.read(job),
            lambda event: print(json.dumps(event), file=pipe),
            Running(job.with_suffix(".running")),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # all is said; a thread that a plugin left behind would keep the runner waiting
