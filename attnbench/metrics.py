"""Every metric a record can hold: its unit, its label for people, how it is printed, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import TypeGuard


class Better(StrEnum):
    """Which way a metric improves."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class Form(StrEnum):
    """How a metric's numbers are printed."""

    PLAIN = "plain"
    DECIMAL = "decimal"
    """Powers of 1000 upwards: k, M, G, T."""
    TIME = "time"
    """Powers of 1000 downwards: ms, µs, ns."""
    BINARY = "binary"
    """Powers of 1024: KiB, MiB, GiB."""
    PERCENT = "percent"
    """A fraction, printed times 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is read."""

    unit: str = ""
    label: str
    better: Better = Better.NEITHER
    deterministic: bool = False
    """Whether two runs of one cell must agree exactly, on any machine."""
    form: Form = Form.PLAIN


_LOWER, _HIGHER = Better.LOWER, Better.HIGHER
_DECIMAL, _TIME, _BINARY, _PERCENT = Form.DECIMAL, Form.TIME, Form.BINARY, Form.PERCENT

METRICS: dict[str, Metric] = {
    "params": Metric(label="parameters", better=_LOWER, deterministic=True, form=_DECIMAL),
    "macs": Metric(unit="MACs", label="MACs per image", better=_LOWER, deterministic=True, form=_DECIMAL),
    "macs_attention": Metric(
        unit="MACs", label="MACs of attention products", better=_LOWER, deterministic=True, form=_DECIMAL
    ),
    "flops": Metric(unit="FLOPs", label="FLOPs per image (2 MACs)", better=_LOWER, deterministic=True, form=_DECIMAL),
    "macs_closed": Metric(unit="MACs", label="MACs by closed form", better=_LOWER, deterministic=True, form=_DECIMAL),
    "macs_torch": Metric(
        unit="MACs", label="MACs by torch's counter", better=_LOWER, deterministic=True, form=_DECIMAL
    ),
    "macs_fvcore": Metric(unit="MACs", label="MACs by fvcore", better=_LOWER, deterministic=True, form=_DECIMAL),
    "macs_remark": Metric(label="why the counts differ"),
    "uncounted_ops": Metric(label="operators that no counter counts"),
    "adaptation": Metric(label="what was done to a map that does not fit"),
    "torch_flags_restored": Metric(label="torch's global switches that the plugin set, undone"),
    "memory_peak_bytes": Metric(unit="B", label="peak memory", better=_LOWER, deterministic=True, form=_BINARY),
    "memory_saved_bytes": Metric(
        unit="B", label="memory saved for backward", better=_LOWER, deterministic=True, form=_BINARY
    ),
    "memory_reserved_bytes": Metric(unit="B", label="memory reserved by the allocator", better=_LOWER, form=_BINARY),
    "memory_estimate_bytes": Metric(unit="B", label="peak memory foreseen before running", better=_LOWER, form=_BINARY),
    "sdpa_kernels": Metric(label="attention kernels that ran"),
    "latency_median_s": Metric(unit="s", label="latency", better=_LOWER, form=_TIME),
    "latency_ci_low_s": Metric(unit="s", label="latency, lower end of 95 % interval", better=_LOWER, form=_TIME),
    "latency_ci_high_s": Metric(unit="s", label="latency, upper end of 95 % interval", better=_LOWER, form=_TIME),
    "latency_p90_s": Metric(unit="s", label="latency, 90th percentile", better=_LOWER, form=_TIME),
    "latency_samples": Metric(label="timed calls"),
    "latency_outliers": Metric(label="timed calls flagged as outliers"),
    "latency_stopped_by": Metric(label="what ended the sampling"),
    "latency_interference": Metric(label="what disturbed the timing"),
    "throughput_img_per_s": Metric(unit="img/s", label="throughput", better=_HIGHER),
    "baseline": Metric(label="baseline of the ratio"),
    "latency_ratio": Metric(label="latency relative to the baseline", better=_LOWER),
    "latency_ratio_ci_low": Metric(label="latency ratio, lower end of 95 % interval", better=_LOWER),
    "latency_ratio_ci_high": Metric(label="latency ratio, upper end of 95 % interval", better=_LOWER),
    "bytes_lower_bound": Metric(unit="B", label="bytes that must move at least", better=_LOWER, form=_BINARY),
    "latency_bound_s": Metric(unit="s", label="least latency that the machine's limits allow", form=_TIME),
    "bound_by": Metric(label="which limit of the machine binds"),
    "roofline_fraction": Metric(label="share of the machine's limit reached", better=_HIGHER, form=_PERCENT),
    "accuracy_kind": Metric(label="kind of accuracy"),
    "accuracy_top1": Metric(label="top-1 accuracy (fraction)", better=_HIGHER, form=_PERCENT),
    "accuracy_top5": Metric(label="top-5 accuracy (fraction)", better=_HIGHER, form=_PERCENT),
    "accuracy_ci_low": Metric(label="top-1, lower end of 95 % interval", better=_HIGHER, form=_PERCENT),
    "accuracy_ci_high": Metric(label="top-1, upper end of 95 % interval", better=_HIGHER, form=_PERCENT),
    "accuracy_seeds": Metric(label="seeds"),
    "accuracy_per_seed": Metric(label="top-1 of each seed"),
    "accuracy_status": Metric(label="how the accuracy measurement ended"),
    "running_s": Metric(unit="s", label="time that its calls took in all, every pass together", form=_TIME),
    "compile_s": Metric(unit="s", label="time to compile", better=_LOWER, form=_TIME),
    "recompilations": Metric(label="recompilations", better=_LOWER),
}

_PREFIXES = {
    Form.PLAIN: ((1.0, ""),),
    Form.DECIMAL: ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")),
    Form.TIME: ((1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, "")),
    Form.BINARY: ((1.0, ""), (2.0**10, "Ki"), (2.0**20, "Mi"), (2.0**30, "Gi"), (2.0**40, "Ti")),
    Form.PERCENT: ((0.01, "%"),),
}
_SIGNIFICANT = 3
_MORE_DECIMALS = 2
"""Digits that a narrow interval may add: below 1 in 20 000 of the value it tells a reader nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The unit that numbers of one metric are printed in, so that those of a column or an axis can be compared."""

    size: float
    """The unit in the metric's own unit: 0.001 for ms."""
    unit: str
    """What is written behind the number: ``ms``, ``MiB``, ``GMACs``, ``M``, ``%``."""

    def number(self, value: float, *, half_width: float = math.inf) -> str:
        """Return the number alone: three significant digits, or one of the interval's half-width if that is more."""
        return f"{value / self.size:.{self.decimals(value, half_width=half_width)}f}"

    def decimals(self, value: float, *, half_width: float = math.inf) -> int:
        """Return how many digits follow the point."""
        for_value = _SIGNIFICANT - 1 - _magnitude(value / self.size, digits=_SIGNIFICANT)
        for_width = -_magnitude(half_width / self.size, digits=1) if 0 < half_width < math.inf else 0
        return max(for_value, min(for_width, for_value + _MORE_DECIMALS), 0)


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value was measured as a number: not empty, finite, not a text and not a truth."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def scale(metric: str, values: Iterable[object]) -> Scale:
    """Return the unit that suits numbers of a metric together: the geometric mean of their sizes decides.

    Raises:
        KeyError: there is no such metric.
    """
    found = METRICS[metric]
    sizes = [math.log(abs(value)) for value in values if is_number(value) and value]
    typical = math.exp(math.fsum(sizes) / len(sizes)) if sizes else 1.0
    prefixes = _PREFIXES[found.form]
    # Numbers are rounded when printed: 999.7 us is 1.00 ms.
    fitting = [(size, prefix) for size, prefix in prefixes if size <= typical * 1.0005]
    size, prefix = fitting[-1] if fitting else prefixes[0]
    return Scale(size=size, unit=prefix + found.unit)


def format_value(metric: str, value: object) -> str:
    """Return a value of a metric for people, with its unit: ``16.0 ms``, ``28.1 MiB``, ``81.3 %``; empty if missing.

    Raises:
        KeyError: there is no such metric.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not is_number(value):
        return ""
    unit = scale(metric, [value])
    number = str(int(value)) if _is_count(metric, value) else unit.number(value)
    return f"{number} {unit.unit}".rstrip()


def format_interval(metric: str, value: object, low: object, high: object) -> str:
    """Return a value with its interval in one unit, ``16.0 ms [15.8, 16.3]``; without one, the value alone.

    Raises:
        KeyError: there is no such metric.
    """
    if not (is_number(value) and is_number(low) and is_number(high)):
        return format_value(metric, value)
    unit, half_width = scale(metric, [value]), (high - low) / 2
    decimals = unit.decimals(value, half_width=half_width)
    ends = ", ".join(f"{end / unit.size:.{decimals}f}" for end in (low, high))
    return " ".join(filter(None, (unit.number(value, half_width=half_width), unit.unit, f"[{ends}]")))


def _is_count(metric: str, value: float) -> bool:
    return METRICS[metric].form is Form.PLAIN and not METRICS[metric].unit and float(value).is_integer()


def _magnitude(value: float, *, digits: int) -> int:
    """Return the exponent of ten of a number once it is rounded: 1 for 9.996 to three digits."""
    if not value or math.isinf(value):
        return digits - 1
    return int(f"{abs(value):.{digits - 1}e}".split("e")[1])
