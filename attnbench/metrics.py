"""Every metric a record can hold: its unit, its label for people, how it is printed, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which way a metric improves."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is read."""

    unit: str = ""
    label: str
    better: Better = Better.NEITHER
    deterministic: bool = False
    """Whether two runs of one cell must agree exactly, on any machine."""


_LOWER, _HIGHER = Better.LOWER, Better.HIGHER

METRICS: dict[str, Metric] = {
    "params": Metric(label="parameters", better=_LOWER, deterministic=True),
    "macs": Metric(unit="MACs", label="MACs per image", better=_LOWER, deterministic=True),
    "macs_attention": Metric(unit="MACs", label="MACs of attention products", better=_LOWER, deterministic=True),
    "flops": Metric(unit="FLOPs", label="FLOPs per image (2 MACs)", better=_LOWER, deterministic=True),
    "macs_closed": Metric(unit="MACs", label="MACs by closed form", better=_LOWER, deterministic=True),
    "macs_torch": Metric(unit="MACs", label="MACs by torch's counter", better=_LOWER, deterministic=True),
    "macs_fvcore": Metric(unit="MACs", label="MACs by fvcore", better=_LOWER, deterministic=True),
    "uncounted_ops": Metric(label="operators that no counter counts"),
    "adaptation": Metric(label="what was done to a map that does not fit"),
    "memory_peak_bytes": Metric(unit="B", label="peak memory", better=_LOWER, deterministic=True),
    "memory_saved_bytes": Metric(unit="B", label="memory saved for backward", better=_LOWER, deterministic=True),
    "memory_reserved_bytes": Metric(unit="B", label="memory reserved by the allocator", better=_LOWER),
    "memory_estimate_bytes": Metric(unit="B", label="peak memory foreseen before running", better=_LOWER),
    "latency_median_s": Metric(unit="s", label="latency", better=_LOWER),
    "latency_ci_low_s": Metric(unit="s", label="latency, lower end of 95 % interval", better=_LOWER),
    "latency_ci_high_s": Metric(unit="s", label="latency, upper end of 95 % interval", better=_LOWER),
    "latency_p90_s": Metric(unit="s", label="latency, 90th percentile", better=_LOWER),
    "latency_samples": Metric(label="timed calls"),
    "latency_outliers": Metric(label="timed calls flagged as outliers"),
    "latency_stopped_by": Metric(label="what ended the sampling"),
    "latency_interference": Metric(label="what disturbed the timing"),
    "throughput_img_per_s": Metric(unit="img/s", label="throughput", better=_HIGHER),
    "baseline": Metric(label="baseline of the ratio"),
    "latency_ratio": Metric(label="latency relative to the baseline", better=_LOWER),
    "latency_ratio_ci_low": Metric(label="latency ratio, lower end of 95 % interval", better=_LOWER),
    "latency_ratio_ci_high": Metric(label="latency ratio, upper end of 95 % interval", better=_LOWER),
    "accuracy_kind": Metric(label="kind of accuracy"),
    "accuracy_top1": Metric(label="top-1 accuracy (fraction)", better=_HIGHER),
    "accuracy_top5": Metric(label="top-5 accuracy (fraction)", better=_HIGHER),
    "accuracy_ci_low": Metric(label="top-1, lower end of 95 % interval", better=_HIGHER),
    "accuracy_ci_high": Metric(label="top-1, upper end of 95 % interval", better=_HIGHER),
    "accuracy_seeds": Metric(label="seeds"),
    "accuracy_status": Metric(label="how the accuracy measurement ended"),
    "compile_s": Metric(unit="s", label="time to compile", better=_LOWER),
    "recompilations": Metric(label="recompilations", better=_LOWER),
}
