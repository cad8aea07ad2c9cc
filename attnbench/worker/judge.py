"""What speaks against a cell's figures by what is known of the machine and of its other figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnbench import runtimes
from attnbench.devices.device import Device
from attnbench.metrics import format_value
from attnbench.models import subject
from attnbench.probes import limits
from attnbench.record import Cell, Mode
from attnbench.roofline import MachineLimits
from attnbench.worker.counts import too_low
from attnbench.worker.objection import Objection
from attnbench.worker.ready import Metrics

_AGAIN_S = 0.5
"""Time for the rate that is measured again, once a row contradicts it."""
_LEAST_SHARE = 0.02
_UNDISTURBED = 0.9
"""Share of the processor's time that a measurement must have had to be held against a row for sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAgain:
    """Limits, and how much of the time in which they were measured their process was on the processor."""

    limits: MachineLimits
    share: float = 1.0


Again = Callable[[], MeasuredAgain]


def of_figures(found: Metrics) -> list[Objection]:
    """Return what a cell's counts and memory say against it.

    Args:
        found: metrics of the phases before the timing.
    """
    said = []
    closed, counted = found.get("macs_closed"), found.get("macs_torch")
    if isinstance(closed, int) and isinstance(counted, int):
        said.append(too_low(closed, counted))
    outside, peak = found.get("memory_outside_bytes"), found.get("memory_peak_bytes")
    if outside:
        held, beside = (format_value("memory_peak_bytes", each) for each in (outside, peak))
        said.append(
            f"a call takes {held} past torch's allocator, beside the {beside} of its peak: numpy, mmap or ctypes"
        )
    return [Objection(said=each, sure=False) for each in said if each]


def beyond_budget(
    cell: Cell, found: Metrics, known: Mapping[str, Any] | None, again: Again, *, most_s: float | None
) -> str:
    """Return why a cell's latency cannot be within a limit; empty where it may be.

    By its multiply-adds alone, and granting what is uncertain of the machine's rate: what is only likely to be too slow
    is timed.

    Args:
        cell: what is asked.
        found: metrics of what was counted.
        known: the machine's limits as they were measured before the run; None if they are not known.
        again: measures them again, now.
        most_s: the limit; None for none.
    """
    per_image = found.get("macs_least")
    if most_s is None or known is None or not isinstance(per_image, int) or cell.runtime != runtimes.TORCH:
        return ""  # nothing is known of what another runtime's products can reach
    machine, macs = MachineLimits.from_dict(known), _least_macs(cell, per_image)
    if cell.products not in machine.macs_per_s or machine.least_s(macs, cell.products) <= most_s:
        return ""
    machine = _faster(machine, again().limits, cell.products)
    least_s = machine.least_s(macs, cell.products)
    if least_s <= most_s:
        return ""
    least, most = (format_value("latency_median_s", each) for each in (least_s, most_s))
    work, rate = (format_value("macs", each) for each in (macs, machine.rate(cell.products)))
    granted = macs / (machine.rate(cell.products) * least_s)
    return (
        f"its {work} take {least} at least, at {granted:.3g} times the {rate}/s of {cell.products} that this machine "
        f"was seen to reach; --max-latency is {most}; not timed"
    )


def of_time(
    cell: Cell, found: Metrics, timed: Metrics, known: Mapping[str, Any] | None, again: Again
) -> list[Objection]:
    """Return what a machine's limits say against a time that is shorter than they allow.

    A compiler may leave out products whose result is not used, so that a compiled cell is suspicious, and no more. The
    limits are those of torch's products, and nothing is known of what another runtime's can reach.

    Args:
        cell: what was timed.
        found: metrics of the phases before the timing.
        timed: those of the timing.
        known: the machine's limits as they were measured before the run; None if they are not known.
        again: measures them again, now.
    """
    per_image, high = found.get("macs_least"), timed.get("latency_ci_high_s")
    if known is None or not isinstance(per_image, int) or not isinstance(high, float):
        return []
    if cell.runtime != runtimes.TORCH:
        return []
    machine = MachineLimits.from_dict(known)
    if cell.products not in machine.macs_per_s:
        return []
    macs = _least_macs(cell, per_image)
    if high >= machine.least_s(macs, cell.products):
        return []
    beside = again()
    machine = _faster(machine, beside.limits, cell.products)
    least_s = machine.least_s(macs, cell.products)
    if high >= least_s:
        return []
    times = [format_value("latency_median_s", each) for each in (timed["latency_median_s"], least_s)]
    rate = format_value("macs", machine.rate(cell.products))
    said = (
        f"{times[0]} is {least_s / float(timed['latency_median_s'] or high):.3g} times as fast as this machine can be: "
        f"{format_value('macs', macs)} take {times[1]} at least, at {rate}/s of {cell.products} measured again beside "
        "it"
    )
    return [Objection(said=said, sure=not cell.compiled and beside.share >= _UNDISTURBED)]


def _least_macs(cell: Cell, per_image: int) -> int:
    """Return the multiply-adds that no call of a cell can save, from those of its forward pass for one image."""
    # Of a training step, the forward pass and one of both gradients: weights may be frozen, the images' is not asked.
    return per_image * cell.batch * (2 if cell.mode is Mode.TRAIN else 1)


def measured_again(cell: Cell, device: Device) -> Again:
    """Return what measures the rate of a cell's products in this process, as it is set up now.

    Where other programs have the processor for a part of the time, a rate is what it would be without them: a machine
    that is busy must not make an honest row look too fast.
    """

    @torch.inference_mode()
    def again() -> MeasuredAgain:
        names = dict.fromkeys(["float32", cell.products])
        timer, threads = device.timer(), torch.get_num_threads()
        sides = device.extent_here().sides
        since, worked_since = time.perf_counter(), time.process_time()
        with device.where:
            rates = {name: limits.products_rate(subject.DTYPES[name], sides, timer, _AGAIN_S) for name in names}
        worked_s, passed_s = time.process_time() - worked_since, time.perf_counter() - since
        share = min(1.0, worked_s / (passed_s * threads)) if device.in_main_memory and passed_s else 1.0
        return MeasuredAgain(
            share=share,
            limits=MachineLimits(
                device=cell.device,
                threads=threads,
                macs_per_s={name: found.per_s / max(share, _LEAST_SHARE) for name, found in rates.items()},
                bytes_per_s=0.0,
                uncertainty={name: found.spread for name, found in rates.items()},
            ),
        )

    return again


def _faster(one: MachineLimits, other: MachineLimits, dtype: str) -> MachineLimits:
    """Return limits with the higher rate of two, and the larger uncertainty."""
    names = one.macs_per_s.keys() | other.macs_per_s.keys()
    rates = {name: max(each.macs_per_s.get(name, 0.0) for each in (one, other)) for name in names}
    spread = max(each.uncertainty.get(dtype, 0.0) for each in (one, other))
    return replace(one, macs_per_s=rates, uncertainty={dtype: spread})
