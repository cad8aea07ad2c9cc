"""The table of metrics: all that anything else needs to know of one stands in its row.

What reads, prints, plots, judges or claims a metric asks this table; a new metric is a row here and what measures it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from attnbench.metrics.metric import Better, Compared, Crossings, Form, Metric, Needs, Plot

_KERNELS = ("torch_version", "gpu.name", "software.cpu_capability")
"""Which kernels run, and so what they allocate, is up to torch, the GPU and the CPU's instruction set."""


_count = partial(Metric, unit="MACs", form=Form.DECIMAL, better=Better.LOWER, compared=Compared.EXACT)
_doubted = ("suspicious", "macs_doubt")
_memory = partial(Metric, unit="B", form=Form.BINARY, better=Better.LOWER, needs=Needs.MEMORY)
_on_composites = partial(
    Metric,
    explained=True,
    form=Form.PERCENT,
    better=Better.HIGHER,
    compared=Compared.DIFFERENCE,
    needs=Needs.ACCURACY,
)
_on_annotated = partial(
    Metric, form=Form.PERCENT, better=Better.HIGHER, compared=Compared.DIFFERENCE, needs=Needs.ACCURACY
)
_time = partial(Metric, unit="s", form=Form.TIME, better=Better.LOWER, needs=Needs.LATENCY)

_ROWS: dict[str, Metric] = {
    "params": _count(
        label="parameters", unit="", heading="params", budget="params", gives_way=30, crossings=Crossings.FILE
    ),
    "macs": _count(
        label="MACs per image",
        heading="MACs",
        doubted_by=_doubted,
        budget="macs",
        gives_way=50,
        plot=Plot(name="macs", title="Multiply-adds for one image"),
        crossings=Crossings.REPORT,
    ),
    "macs_attention": _count(
        label="MACs of the attention products",
        heading="attn",
        doubted_by=_doubted,
        explained=True,
        unit_of="macs",
        gives_way=20,
        crossings=Crossings.FILE,
    ),
    "flops": _count(label="FLOPs per image (2 MACs)", unit="FLOPs", doubted_by=_doubted),
    "macs_closed": _count(label="MACs by closed form"),
    "macs_torch": _count(label="MACs by torch's counter", depends_on=("torch_version",)),
    "macs_fvcore": _count(label="MACs by fvcore", depends_on=("torch_version", "software.fvcore")),
    "ops_elementwise": _count(
        label="elementwise work besides MACs, as fvcore and timm count it",
        unit="operations",
        depends_on=("torch_version", "software.fvcore"),
    ),
    "activations": _count(
        label="elements that products and convolutions return (timm's macts)",
        unit="elements",
        depends_on=("torch_version", "software.fvcore"),
    ),
    "macs_least": _count(label="MACs that no algorithm can save", doubted_by=_doubted, compared=Compared.NOT),
    "macs_remark": Metric(label="why the counts differ"),
    "uncounted_ops": Metric(label="operators that no counter counts"),
    "macs_doubt": Metric(label="what speaks against the MACs: they are not ranked"),
    "adaptation": Metric(label="what was done so that a layer takes a map"),
    "torch_flags_restored": Metric(label="torch's global switches that the plugin set, undone"),
    "process_changes": Metric(label="what the plugin changed for everyone in its process, put back for the others"),
    "measured_apart": Metric(label="why it was measured in another process than the others"),
    "latency_median_s": _time(
        label="latency",
        heading="latency",
        low="latency_ci_low_s",
        high="latency_ci_high_s",
        budget="latency",
        compared=Compared.RATIO,
        alike="runtime_version",
        of_one_run=True,
        plot=Plot(name="latency", title="Latency of one call"),
        crossings=Crossings.REPORT,
    ),
    "latency_p90_s": _time(label="latency, 90th percentile"),
    "latency_samples": Metric(label="timed calls", needs=Needs.LATENCY),
    "latency_outliers": Metric(label="timed calls flagged as outliers", needs=Needs.LATENCY),
    "latency_clock": Metric(label="whose clock timed it, on an accelerator", needs=Needs.LATENCY),
    "latency_stopped_by": Metric(label="what ended the sampling", needs=Needs.LATENCY),
    "verified": Metric(
        label="timed calls whose values were compared with an untouched copy's, of how many", needs=Needs.LATENCY
    ),
    "suspicious": Metric(label="what speaks against the figures: the row is not ranked", needs=Needs.LATENCY),
    "latency_interference": Metric(label="what disturbed the timing", needs=Needs.LATENCY),
    "baseline": Metric(label="baseline of the ratio", needs=Needs.LATENCY),
    "latency_ratio": Metric(
        label="latency relative to the baseline",
        heading="vs",
        better=Better.LOWER,
        low="latency_ratio_ci_low",
        high="latency_ratio_ci_high",
        limits=(0, 1),
        needs=Needs.LATENCY,
        ratio_of="latency_median_s",
        gives_way=80,
    ),
    "latency_ratio_remark": Metric(label="why there is no ratio to the baseline", needs=Needs.LATENCY),
    "throughput_img_per_s": Metric(
        unit="img/s",
        label="throughput",
        heading="throughput",
        better=Better.HIGHER,
        needs=Needs.LATENCY,
        inverse_of="latency_median_s",
        of_one_run=True,
        budget="throughput",
        gives_way=10,
    ),
    "energy_per_image_j": Metric(
        unit="J",
        label="energy per image",
        heading="energy",
        form=Form.TIME,
        better=Better.LOWER,
        low="energy_per_image_ci_low_j",
        high="energy_per_image_ci_high_j",
        compared=Compared.RATIO,
        alike="energy_counter",
        needs=Needs.ENERGY,
        of_one_run=True,
        budget="energy",
        gives_way=65,
        plot=Plot(name="energy", title="Energy for one image"),
        crossings=Crossings.REPORT,
    ),
    "energy_idle_w": Metric(unit="W", label="power when idle, by the same counter", needs=Needs.ENERGY),
    "energy_counter": Metric(label="what counted the energy", needs=Needs.ENERGY),
    "energy_remark": Metric(label="why there is no energy", needs=Needs.ENERGY),
    "memory_peak_bytes": _memory(
        label="peak memory",
        heading="peak",
        compared=Compared.EXACT,
        depends_on=_KERNELS,
        budget="memory",
        gives_way=70,
        plot=Plot(name="memory", title="Peak memory of one call"),
        crossings=Crossings.REPORT,
    ),
    "memory_saved_bytes": _memory(
        label="memory saved for backward",
        heading="saved",
        compared=Compared.EXACT,
        depends_on=_KERNELS,
        unit_of="memory_peak_bytes",
        gives_way=40,
        crossings=Crossings.REPORT,
    ),
    "memory_reserved_bytes": _memory(label="memory reserved by the allocator"),
    "memory_counted": Metric(label="what an accelerator's allocator counted for the peak", needs=Needs.MEMORY),
    "memory_outside_bytes": _memory(label="memory that a call takes past torch's allocator"),
    "memory_estimate_bytes": _memory(label="peak memory estimated before running"),
    "sdpa_kernels": Metric(label="attention kernels that ran", needs=Needs.MEMORY),
    "call_warnings": Metric(label="what torch and others warned of during its calls", needs=Needs.MEMORY),
    "bytes_lower_bound": _memory(label="bytes that must move at least", needs=Needs.COUNTS),
    "latency_bound_s": _time(label="least latency that the machine's limits allow", better=Better.NEITHER),
    "bound_by": Metric(label="which limit of the machine binds", needs=Needs.LATENCY),
    "roofline_fraction": Metric(
        label="share of the machine's limit reached", form=Form.PERCENT, better=Better.HIGHER, needs=Needs.LATENCY
    ),
    "accuracy_kind": Metric(label="kind of accuracy", needs=Needs.ACCURACY),
    "accuracy_top1": Metric(
        label="top-1 accuracy (fraction)",
        heading="top-1",
        form=Form.PERCENT,
        better=Better.HIGHER,
        low="accuracy_ci_low",
        high="accuracy_ci_high",
        per_seed="accuracy_per_seed",
        compared=Compared.DIFFERENCE,
        needs=Needs.ACCURACY,
        budget="accuracy",
        gives_way=60,
        plot=Plot(name="accuracy", title="Accuracy against latency", against="latency_median_s"),
    ),
    "miou": _on_composites(
        label="mean intersection over union on composites, never beside ADE20K's (fraction)",
        heading="composites mIoU",
        low="miou_ci_low",
        high="miou_ci_high",
        per_seed="miou_per_seed",
        budget="miou",
        gives_way=62,
        plot=Plot(name="miou", title="mIoU on composites against latency", against="latency_median_s"),
    ),
    "miou_per_seed": Metric(label="mIoU on composites of each seed", needs=Needs.ACCURACY),
    "ap_box": _on_composites(
        label="average precision of boxes on composites, never beside COCO's (fraction)",
        heading="composites box AP",
        low="ap_box_ci_low",
        high="ap_box_ci_high",
        per_seed="ap_box_per_seed",
        budget="ap-box",
        gives_way=63,
        plot=Plot(name="ap-box", title="Box AP on composites against latency", against="latency_median_s"),
    ),
    "ap_box_per_seed": Metric(label="box AP on composites of each seed", needs=Needs.ACCURACY),
    "ap_mask": _on_composites(
        label="average precision of masks on composites, never beside COCO's (fraction)",
        heading="composites mask AP",
        low="ap_mask_ci_low",
        high="ap_mask_ci_high",
        per_seed="ap_mask_per_seed",
        budget="ap-mask",
        gives_way=64,
        plot=Plot(name="ap-mask", title="Mask AP on composites against latency", against="latency_median_s"),
    ),
    "ap_mask_per_seed": Metric(label="mask AP on composites of each seed", needs=Needs.ACCURACY),
    "ade20k_miou": _on_annotated(
        label="mean intersection over union on ADE20K's validation images (fraction)",
        heading="ADE20K mIoU",
        low="ade20k_miou_ci_low",
        high="ade20k_miou_ci_high",
        budget="ade20k-miou",
        gives_way=66,
        plot=Plot(name="ade20k-miou", title="ADE20K mIoU against latency", against="latency_median_s"),
    ),
    "coco_ap_box": _on_annotated(
        label="average precision of boxes on COCO's val2017 (fraction)",
        heading="COCO box AP",
        low="coco_ap_box_ci_low",
        high="coco_ap_box_ci_high",
        budget="coco-ap-box",
        gives_way=67,
        plot=Plot(name="coco-ap-box", title="COCO box AP against latency", against="latency_median_s"),
    ),
    "coco_ap_mask": _on_annotated(
        label="average precision of masks on COCO's val2017 (fraction)",
        heading="COCO mask AP",
        low="coco_ap_mask_ci_low",
        high="coco_ap_mask_ci_high",
        budget="coco-ap-mask",
        gives_way=68,
        plot=Plot(name="coco-ap-mask", title="COCO mask AP against latency", against="latency_median_s"),
    ),
    "accuracy_top5": Metric(
        label="top-5 accuracy (fraction)", form=Form.PERCENT, better=Better.HIGHER, needs=Needs.ACCURACY
    ),
    "accuracy_float32_top1": Metric(
        label="top-1 accuracy of the network itself beside what it was quantised to (fraction)",
        form=Form.PERCENT,
        better=Better.HIGHER,
        needs=Needs.ACCURACY,
    ),
    "accuracy_as_float32": Metric(
        label="images for which both name the same class (fraction)",
        form=Form.PERCENT,
        better=Better.HIGHER,
        needs=Needs.ACCURACY,
    ),
    "accuracy_seeds": Metric(label="seeds", needs=Needs.ACCURACY),
    "accuracy_per_seed": Metric(label="top-1 of each seed", needs=Needs.ACCURACY),
    "accuracy_axis": Metric(label="what a task is swept over, and its unit", needs=Needs.ACCURACY),
    "accuracy_curve": Metric(label="share right of each seed, by the value of the axis", needs=Needs.ACCURACY),
    "accuracy_ceiling": Metric(label="the most that the layers' reach allows, by the same", needs=Needs.ACCURACY),
    "accuracy_holds_to": Metric(
        unit="tokens",
        label="last value of the axis up to which more than half of what guessing leaves is right",
        heading="holds to",
        explained=True,
        better=Better.HIGHER,
        needs=Needs.ACCURACY,
        gives_way=61,
    ),
    "accuracy_chance": Metric(label="share that guessing gets right", form=Form.PERCENT, needs=Needs.ACCURACY),
    "accuracy_class_order": Metric(label="order of the classes", needs=Needs.ACCURACY),
    "accuracy_remark": Metric(label="what to know of the accuracy", needs=Needs.ACCURACY),
    "accuracy_status": Metric(label="how the accuracy measurement ended", needs=Needs.ACCURACY),
    "runtime_version": Metric(label="what ran it, with its version", needs=Needs.LATENCY),
    "runtime_error": Metric(
        label="largest difference from torch's answer, relative to its largest value",
        heading="error",
        explained=True,
        form=Form.PARTS,
        needs=Needs.LATENCY,
        gives_way=45,
    ),
    "int8_snr_db": Metric(
        unit="dB",
        label="signal to noise of int8 answers: float32 answers beside what they differ by",
        heading="int8 SNR",
        explained=True,
        better=Better.HIGHER,
        needs=Needs.LATENCY,
        gives_way=46,
    ),
    "runtime_remark": Metric(label="what was done to a module for its runtime", needs=Needs.LATENCY),
    "export": Metric(label="how a module was exported", needs=Needs.LATENCY),
    "export_s": _time(label="time to export and load", better=Better.NEITHER),
    "running_s": _time(label="time that its calls took in all, every pass together", better=Better.NEITHER),
    "compile_s": _time(label="time to compile"),
    "recompilations": Metric(label="recompilations", better=Better.LOWER, needs=Needs.LATENCY),
    "graphs": Metric(label="graphs that it was compiled into", better=Better.LOWER, needs=Needs.LATENCY),
    "graph_breaks": Metric(label="breaks between compiled graphs", better=Better.LOWER, needs=Needs.LATENCY),
    "graph_breaks_at": Metric(label="where compiled graphs break", needs=Needs.LATENCY),
}


def _with_ends(rows: Mapping[str, Metric]) -> Iterator[tuple[str, Metric]]:
    """Yield every metric, and after it the ends of its interval."""
    for name, metric in rows.items():
        yield name, metric
        for end, which in zip(metric.ends, ("lower", "upper"), strict=False):
            yield (
                end,
                Metric(
                    unit=metric.unit,
                    label=f"{metric.label}, {which} end of 95 % interval",
                    form=metric.form,
                    better=metric.better,
                    needs=metric.needs,
                ),
            )


METRICS: Mapping[str, Metric] = dict(_with_ends(_ROWS))
"""Every metric that a record can hold, by its name, in the order of columns."""
COLUMNS = tuple(name for name, metric in METRICS.items() if metric.heading)
"""The metrics that tables show."""


def of(needs: Needs) -> tuple[str, ...]:
    """Return the metrics that are known once a cell was run so far."""
    return tuple(name for name, metric in METRICS.items() if metric.needs is needs)


def compared(how: Compared) -> tuple[str, ...]:
    """Return the metrics by which runs are compared in a way."""
    return tuple(name for name, metric in METRICS.items() if metric.compared is how)


def crossed_in(*where: Crossings) -> tuple[str, ...]:
    """Return the metrics whose crossovers are told there."""
    return tuple(name for name, metric in METRICS.items() if metric.crossings in where)


def drawn(*, counted: bool) -> tuple[str, ...]:
    """Return the metrics drawn against resolution: those that are counted, or those that are measured."""
    against_resolution = (name for name, metric in METRICS.items() if metric.plot and not metric.plot.against)
    return tuple(name for name in against_resolution if (METRICS[name].needs is Needs.COUNTS) is counted)
