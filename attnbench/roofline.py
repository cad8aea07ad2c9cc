"""How fast a call could be at most on a machine, and how much of that it reaches. Pure arithmetic, no torch.

After the roofline model (Williams, Waterman and Patterson, CACM 52(4), 2009). A call cannot end before its products
are done, nor before the bytes it must touch have moved:

    bound = max(macs / rate, bytes / bandwidth)        [s] = max([MACs] / [MACs/s], [B] / [B/s])

Both numerators are lower bounds and both denominators upper envelopes of what was measured, so that
``roofline_fraction``, the bound over the measured median, is to stay below 1. It is never clipped. Above 1 it says that
an assumption failed:

- what a call touches was still in a cache, which is faster than the memory that the bandwidth was measured on;
- the processor ran at a higher clock than when its limits were measured, or on more threads;
- products were done in a cheaper way than was counted: convolutions after Winograd, or a narrower dtype inside
  (TF32 switched on after the limits were taken);
- parameters were counted that the call does not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from attnbench.reading import structured
from attnbench.record import Mode, Record, Value

LEAST_UNCERTAINTY = 0.25
"""Of a rate of products, as a fraction, whatever its samples say: a processor's clock moves by as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """The best rates that a device was seen to reach.

    Example:
        >>> limits = MachineLimits(device="cpu", threads=1, macs_per_s={"float32": 5e10}, bytes_per_s=1e10)
        >>> limits.rate("float32")
        50000000000.0
    """

    device: str
    threads: int
    macs_per_s: Mapping[str, float]
    """Multiply-adds per second in matrix products, by dtype."""
    bytes_per_s: float
    """Bytes read and written per second in main memory."""
    uncertainty: Mapping[str, float] = field(default_factory=dict)
    """By how much a rate of products may be too low, as a fraction, by dtype; limits of earlier versions have none."""
    conditions: str = ""
    """What disturbed the machine while they were taken; empty for nothing, and in earlier versions."""

    def rate(self, dtype: str) -> float:
        """Return the multiply-adds per second that products of a dtype can reach.

        Half precision can always be computed in single precision, and on processors without the instructions that is
        quicker, so the rate of a dtype is never below that of float32 where that was measured.

        Raises:
            KeyError: the dtype was not measured.
        """
        own = self.macs_per_s[dtype]
        return max(own, self.macs_per_s.get("float32", own))

    def least_s(self, macs: float, dtype: str) -> float:
        """Return the time that so many multiply-adds take at least, what is uncertain of the rate granted.

        Raises:
            KeyError: the dtype was not measured.
        """
        return macs / (self.rate(dtype) * (1 + max(LEAST_UNCERTAINTY, self.uncertainty.get(dtype, 0.0))))

    def or_higher(self, other: MachineLimits | None) -> MachineLimits:
        """Return the higher of both rates for each that was measured, with what is uncertain of that one."""
        if other is None:
            return self
        names = sorted(self.macs_per_s.keys() | other.macs_per_s.keys())
        higher = {name: max((self, other), key=lambda each: each.macs_per_s.get(name, 0.0)) for name in names}
        return replace(
            self,
            macs_per_s={name: each.macs_per_s[name] for name, each in higher.items()},
            bytes_per_s=max(self.bytes_per_s, other.bytes_per_s),
            uncertainty={name: each.uncertainty[name] for name, each in higher.items() if name in each.uncertainty},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the limits for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> MachineLimits:
        """Return the limits that ``to_dict`` took apart.

        Raises:
            MisreadError: they are none.
        """
        return structured(fields, cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one call has to do.

    A latency that is a share of a call, such as the mean layer of a stack, goes with the same share of its bytes.

    Example:
        >>> sizes = {"params_bytes": 400, "input_bytes": 100, "output_bytes": 100}
        >>> work = Work(macs=2_000_000, batch=1, mode=Mode.INFER, dtype="float32", **sizes)
        >>> bytes_lower_bound(work)
        600
    """

    macs: int
    """Multiply-adds of the forward pass, per image."""
    batch: int
    mode: Mode
    dtype: str
    params_bytes: int
    """Bytes of the parameters that the call uses, each once, whatever their dtypes."""
    input_bytes: int
    """Bytes of the input of the whole batch."""
    output_bytes: int
    """Bytes of the output of the whole batch."""


class BoundBy(StrEnum):
    """Which limit of the machine binds."""

    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The least time that a call takes on a machine.

    Example:
        >>> found = Bound(latency_s=0.002, by=BoundBy.BANDWIDTH, bytes_lower_bound=20_000_000)
        >>> found.metrics(0.008)["roofline_fraction"]
        0.25
    """

    latency_s: float
    by: BoundBy
    bytes_lower_bound: int

    def metrics(self, latency_median_s: float) -> dict[str, Value]:
        """Return the metrics of a call that was measured to take ``latency_median_s`` seconds, beside its counts."""
        return {
            "latency_bound_s": self.latency_s,
            "bound_by": self.by.value,
            "roofline_fraction": self.latency_s / latency_median_s,
        }


def bound(work: Work, limits: MachineLimits) -> Bound:
    """Return the least time that a call takes on a machine.

    Raises:
        KeyError: the limits do not have the dtype.
    """
    macs = macs_per_call(work.macs, batch=work.batch, mode=work.mode)
    return bound_of_counts(macs, bytes_lower_bound(work), dtype=work.dtype, limits=limits)


def bound_of_counts(macs: float, least: int, *, dtype: str, limits: MachineLimits) -> Bound:
    """Return the least time that a call of so many multiply-adds and least bytes takes on a machine.

    Raises:
        KeyError: the limits do not have the dtype.
    """
    compute_s, memory_s = macs / limits.rate(dtype), least / limits.bytes_per_s
    by = BoundBy.COMPUTE if compute_s >= memory_s else BoundBy.BANDWIDTH
    return Bound(latency_s=max(compute_s, memory_s), by=by, bytes_lower_bound=least)


def of_row(record: Record, limits: MachineLimits) -> dict[str, Value]:
    """Return the metrics of a timed row that follow from a machine's limits, from its counts and its latency.

    Raises:
        KeyError: the row lacks one of these, or the limits its dtype.
        TypeError: one of them is not a number.
        ZeroDivisionError: a rate or the latency is 0.
    """
    cell = record.cell
    macs, least, median = (record.metrics[name] for name in ("macs", "bytes_lower_bound", "latency_median_s"))
    work = macs_per_call(macs, batch=cell.batch, mode=cell.mode)  # type: ignore[arg-type]
    found = bound_of_counts(work, least, dtype=cell.products, limits=limits)  # type: ignore[arg-type]
    return found.metrics(median)  # type: ignore[arg-type]


def macs_per_call(macs: float, *, batch: int, mode: Mode) -> float:
    """Return the multiply-adds of a call from those of the forward pass for one image.

    Training takes three times the forward pass: for every product Y = A B, backward needs dA = dY B^T and dB = A^T dY,
    of as many multiply-adds each. The one left out in truth is the gradient of the images, which nobody asks for: a
    third of the first layer's share, 0.1 % of the backbone at 224 pixels. Recomputation is not counted.
    """
    return macs * batch * (3 if mode is Mode.TRAIN else 1)


def bytes_lower_bound(work: Work) -> int:
    """Return the bytes that must move between memory and processor at least, however the call is implemented.

    Parameters and input are read once, the output is written once; training also writes a gradient as large as the
    parameters. This takes caches to be cold before the call and empty after it. Everything else could be avoided
    with a larger cache or another implementation, and is left out: intermediate maps and scores, activations saved
    for backward (they can be recomputed), reading the parameters again in backward, the gradients of output and input.
    """
    gradients_bytes = work.params_bytes if work.mode is Mode.TRAIN else 0
    return work.params_bytes + work.input_bytes + work.output_bytes + gradients_bytes
