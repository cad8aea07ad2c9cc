"""Verdicts over made-up runs on disk, and the coverage of the ratio's interval over simulated ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from attnbench.compare import pairing
from attnbench.compare.pairing import environment_differences
from attnbench.compare.runs import compare
from attnbench.compare.verdict import DISTURBED, LATENCY, Comparison, Outcome, Verdict, judge, ratio_of, widest_ratio
from attnbench.errors import StoreError, UsageError
from attnbench.metrics import METRICS, Compared
from attnbench.probes.interval import Estimate, median_estimate
from attnbench.record import Cell, Record, Status, Task
from attnbench.store.records import Store

ENVIRONMENT = {
    "environment_id": "e1",
    "hardware": "Xeon, 2 cores",
    "torch_version": "2.11.0",
    "cpu": {"model": "Xeon"},
    "gpu": None,
    "software": {"torch": "2.11.0", "cpu_capability": "AVX512", "fvcore": "0.1.5"},
    "code": {"attnbench": "0.1.0", "commit": "aaaa", "clean": True},
    "state": {"load_average": 0.1},
}
OTHER_TORCH = ENVIRONMENT | {
    "environment_id": "e2",
    "torch_version": "2.12.0",
    "software": {"torch": "2.12.0", "cpu_capability": "AVX512", "fvcore": "0.1.5"},
    "code": {"attnbench": "0.2.0", "commit": "bbbb", "clean": False},
    "state": {"load_average": 0.9},
}
EXACT = {"params": 100, "macs": 2000, "memory_peak_bytes": 4096}


def cell(mechanism: str = "mhsa", **asked: Any) -> Cell:
    return Cell(**{"mechanism": mechanism, "distribution": "attnbench 0.1.0", "height": 224, "width": 224, **asked})


def record(
    asked: Cell | None = None, *, status: Status = Status.OK, environment: Any = ENVIRONMENT, **metrics: Any
) -> Record:
    measured = EXACT | metrics if status is Status.OK else metrics
    return Record(
        cell=asked or cell(),
        status=status,
        reason="" if status is Status.OK else "why",
        metrics=measured,
        environment=environment,
    )


def timed(asked: Cell | None = None, *, median_s: float, spread: float = 0.01, **rest: Any) -> Record:
    ends = {"latency_ci_low_s": median_s * (1 - spread), "latency_ci_high_s": median_s * (1 + spread)}
    return record(asked, **{LATENCY: median_s, **ends, "latency_samples": 40, **rest})


def learned(top1: float, half_width: float, **rest: Any) -> Record:
    asked = cell(task=Task.ACCURACY, dataset="digits", seeds=3)
    ends = {"accuracy_ci_low": top1 - half_width, "accuracy_ci_high": top1 + half_width}
    return Record(
        cell=asked,
        status=Status.OK,
        environment=ENVIRONMENT,
        metrics={"accuracy_top1": top1, "accuracy_kind": "proxy", **ends, **rest},
    )


def written(folder: Path, *records: Record) -> Path:
    with Store(folder) as store:
        for one in records:
            store.append(one)
    return folder


def with_samples(folder: Path, one: Record, seconds: np.ndarray, *, calls_per_sample: int = 1) -> Path:
    written(folder, one)
    elapsed = np.round(seconds * calls_per_sample * 1e9).astype(np.int64)
    np.savez(
        folder / "samples" / f"{one.cell.key}.npz", elapsed_ns=elapsed, calls_per_sample=np.array(calls_per_sample)
    )
    return folder


def compared(tmp_path: Path, base: Record, head: Record, **how: Any) -> Comparison:
    return compare(written(tmp_path / "base", base), written(tmp_path / "head", head), **how)


def verdict_on(metric: str, comparison: Comparison) -> Verdict:
    (verdict,) = comparison.about(metric)
    return verdict


def noisy(median_s: float, *, seed: int, samples: int = 40, sd: float = 0.01) -> np.ndarray:
    return median_s * (1 + sd * np.random.default_rng(seed).standard_normal(samples))


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.06, 1.20, Outcome.SLOWER),
        (0.80, 0.94, Outcome.FASTER),
        (0.96, 1.04, Outcome.SAME),
        (1.04, 1.20, Outcome.UNDECIDED),
        (0.90, 0.96, Outcome.UNDECIDED),
        (0.70, 1.40, Outcome.UNDECIDED),
        (1.05, 1.05, Outcome.SAME),
        (1 / 1.05, 1.0, Outcome.SAME),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, outcome: Outcome) -> None:
    assert judge(Estimate(value=(low + high) / 2, low=low, high=high), threshold=0.05) is outcome


def test_exchanging_base_and_head_exchanges_slower_and_faster() -> None:
    rng, mirrored = np.random.default_rng(0), {Outcome.SLOWER: Outcome.FASTER, Outcome.FASTER: Outcome.SLOWER}
    for low, high in np.sort(rng.uniform(0.8, 1.25, (500, 2))):
        there = judge(Estimate(value=low, low=low, high=high), threshold=0.05)
        back = judge(Estimate(value=1 / low, low=1 / high, high=1 / low), threshold=0.05)
        assert back is mirrored.get(there, there)


@pytest.mark.parametrize("samples", [(6, 6), (6, 60), (30, 30)])
def test_the_interval_of_a_ratio_holds_the_true_ratio_in_95_percent_of_repeats(samples: tuple[int, int]) -> None:
    rng, repeats, hits = np.random.default_rng(7), 600, 0
    for _ in range(repeats):
        base, head = (np.exp(0.2 * rng.standard_normal(n)) for n in samples)
        ratio = ratio_of(median_estimate(1.3 * head), median_estimate(base))
        hits += ratio.low <= 1.3 <= ratio.high
    # Fewer than this many hits has a probability of 0.1 % at a coverage of 95 %.
    assert hits >= stats.binom.ppf(0.001, repeats, 0.95)


def test_the_interval_of_a_ratio_is_narrower_than_the_extremes_and_no_wider_than_scipys_bootstrap_allows() -> None:
    rng = np.random.default_rng(3)
    base, head = np.exp(0.1 * rng.standard_normal(200)), 1.2 * np.exp(0.1 * rng.standard_normal(200))
    ours = ratio_of(median_estimate(head), median_estimate(base))
    extremes = widest_ratio(median_estimate(head), median_estimate(base))
    theirs = stats.bootstrap(
        (head, base), lambda x, y, axis: np.median(x, axis=axis) / np.median(y, axis=axis), n_resamples=999, rng=rng
    ).confidence_interval
    assert extremes.low < ours.low < ours.value < ours.high < extremes.high
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)


def test_samples_that_doubled_are_slower(tmp_path: Path) -> None:
    base = with_samples(tmp_path / "base", timed(median_s=0.010), noisy(0.010, seed=1))
    head = with_samples(tmp_path / "head", timed(median_s=0.020), noisy(0.020, seed=2))
    verdict = verdict_on(LATENCY, compare(base, head))
    assert verdict.outcome is Outcome.SLOWER
    assert verdict.change is not None
    assert verdict.change.value == pytest.approx(2, rel=0.02)
    assert verdict.reason == ""


def test_the_samples_decide_rather_than_the_recorded_intervals(tmp_path: Path) -> None:
    base = with_samples(tmp_path / "base", timed(median_s=0.010, spread=0.5), noisy(0.010, seed=1))
    head = with_samples(tmp_path / "head", timed(median_s=0.010, spread=0.5), noisy(0.010, seed=2))
    assert verdict_on(LATENCY, compare(base, head)).outcome is Outcome.SAME


def test_calls_per_sample_may_differ_between_the_runs(tmp_path: Path) -> None:
    base = with_samples(tmp_path / "base", timed(median_s=1e-5), noisy(1e-5, seed=1), calls_per_sample=10)
    head = with_samples(tmp_path / "head", timed(median_s=1e-5), noisy(1e-5, seed=2), calls_per_sample=7)
    assert verdict_on(LATENCY, compare(base, head)).outcome is Outcome.SAME


def test_equal_medians_of_wild_samples_are_undecided(tmp_path: Path) -> None:
    base = with_samples(tmp_path / "base", timed(median_s=0.01), noisy(0.01, seed=1, sd=0.3))
    head = with_samples(tmp_path / "head", timed(median_s=0.01), noisy(0.01, seed=2, sd=0.3))
    assert verdict_on(LATENCY, compare(base, head)).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize("damage", ["missing", "torn", "of another number"])
def test_without_samples_of_both_the_recorded_intervals_are_taken_at_their_extremes(
    tmp_path: Path, damage: str
) -> None:
    base = with_samples(tmp_path / "base", timed(median_s=0.010, spread=0.02), noisy(0.010, seed=1))
    head = with_samples(tmp_path / "head", timed(median_s=0.010, spread=0.02), noisy(0.010, seed=2))
    (path,) = (head / "samples").iterdir()
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        np.savez(path, elapsed_ns=np.arange(1, 40), calls_per_sample=np.array(1))
    verdict = verdict_on(LATENCY, compare(base, head))
    assert verdict.change is not None
    assert (verdict.change.low, verdict.change.high) == pytest.approx((0.98 / 1.02, 1.02 / 0.98))
    assert "samples are not there" in verdict.reason


def test_medians_without_an_interval_are_not_compared(tmp_path: Path) -> None:
    without = record(**{LATENCY: 0.01})
    assert verdict_on(LATENCY, compared(tmp_path, without, without)).outcome is Outcome.NOT_COMPARED


def test_a_disturbed_run_needs_a_larger_change_for_a_verdict(tmp_path: Path) -> None:
    base, calm = timed(median_s=0.010), {"median_s": 0.012}
    disturbed = {"latency_interference": "other processes used 0.9 cores"}
    assert verdict_on(LATENCY, compared(tmp_path / "1", base, timed(**calm))).outcome is Outcome.SLOWER
    verdict = verdict_on(LATENCY, compared(tmp_path / "2", base, timed(**calm, **disturbed)))
    assert verdict.outcome is Outcome.UNDECIDED
    assert "head was disturbed (other processes used 0.9 cores)" in verdict.reason
    assert f"factor of {DISTURBED:g}" in verdict.reason
    doubled = verdict_on(LATENCY, compared(tmp_path / "3", base, timed(median_s=0.02, **disturbed)))
    assert doubled.outcome is Outcome.SLOWER


def test_latencies_of_different_environments_are_refused_with_what_differs(tmp_path: Path) -> None:
    comparison = compared(tmp_path, timed(median_s=0.01), timed(median_s=0.02, environment=OTHER_TORCH))
    verdict = verdict_on(LATENCY, comparison)
    assert verdict.outcome is Outcome.NOT_COMPARED
    assert verdict.reason == "environments differ in software.torch: 2.11.0 / 2.12.0"
    assert not comparison.regressions


def test_forced_latencies_of_different_environments_are_compared_and_marked(tmp_path: Path) -> None:
    comparison = compared(tmp_path, timed(median_s=0.01), timed(median_s=0.02, environment=OTHER_TORCH), force=True)
    verdict = verdict_on(LATENCY, comparison)
    assert verdict.outcome is Outcome.SLOWER
    assert verdict.reason.startswith("forced, though environments differ in software.torch: 2.11.0 / 2.12.0")


def test_another_commit_of_attnbench_and_another_load_are_no_other_environment() -> None:
    later = ENVIRONMENT | {"code": OTHER_TORCH["code"], "state": OTHER_TORCH["state"]}
    assert environment_differences(ENVIRONMENT, later) == ""


@pytest.mark.parametrize(
    ("base", "head", "said"),
    [
        ({}, {}, "environment_id: not recorded / not recorded"),
        (ENVIRONMENT, {}, "cpu.model: Xeon / not recorded"),
        ({"environment_id": "a"}, {"environment_id": "b"}, "environment_id: a / b"),
        ({"environment_id": "a", "hardware": "X"}, {"environment_id": "b", "hardware": "Y"}, "hardware: X / Y"),
    ],
)
def test_whatever_is_known_of_differing_environments_is_said(base: Any, head: Any, said: str) -> None:
    assert said in environment_differences(base, head)


@pytest.mark.parametrize(("metric", "more"), [("params", 1), ("macs", 1), ("memory_peak_bytes", 1)])
def test_the_smallest_increase_of_an_exact_figure_is_a_regression(tmp_path: Path, metric: str, more: int) -> None:
    comparison = compared(tmp_path, record(), record(**{metric: EXACT[metric] + more}))
    assert [verdict.metric for verdict in comparison.regressions] == [metric]


def test_a_decrease_of_an_exact_figure_is_better(tmp_path: Path) -> None:
    comparison = compared(tmp_path, record(), record(params=99))
    assert verdict_on("params", comparison).outcome is Outcome.BETTER
    assert not comparison.regressions


def test_parameters_and_macs_are_compared_on_any_machine_and_memory_only_with_the_same_torch(tmp_path: Path) -> None:
    comparison = compared(tmp_path, record(), record(environment=OTHER_TORCH, params=101, memory_peak_bytes=9999))
    assert verdict_on("params", comparison).outcome is Outcome.WORSE
    memory = verdict_on("memory_peak_bytes", comparison)
    assert memory.outcome is Outcome.NOT_COMPARED
    assert "torch_version: 2.11.0 / 2.12.0" in memory.reason


def test_memory_is_compared_across_machines_that_run_the_same_kernels(tmp_path: Path) -> None:
    elsewhere = ENVIRONMENT | {"environment_id": "e3", "cpu": {"model": "EPYC"}}
    comparison = compared(tmp_path, record(), record(environment=elsewhere, memory_peak_bytes=4097))
    assert verdict_on("memory_peak_bytes", comparison).outcome is Outcome.WORSE


def test_memory_is_not_compared_where_no_environment_was_recorded(tmp_path: Path) -> None:
    comparison = compared(tmp_path, record(environment={}), record(environment={}))
    assert verdict_on("memory_peak_bytes", comparison).outcome is Outcome.NOT_COMPARED
    assert verdict_on("params", comparison).outcome is Outcome.SAME


def test_every_exact_metric_improves_downwards() -> None:
    exact = [metric for metric in METRICS.values() if metric.compared is Compared.EXACT]
    assert {metric.better.value for metric in exact} == {"lower"}


def test_a_figure_that_only_one_run_has_is_not_compared(tmp_path: Path) -> None:
    verdict = verdict_on("memory_saved_bytes", compared(tmp_path, record(memory_saved_bytes=1), record()))
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_COMPARED, "not measured in head")


@pytest.mark.parametrize(
    ("base", "head", "outcome"),
    [
        (Status.OK, Status.OUT_OF_MEMORY, Outcome.WORSE),
        (Status.OK, Status.UNSUPPORTED, Outcome.WORSE),
        (Status.FAILED, Status.OK, Outcome.BETTER),
        (Status.TIMEOUT, Status.CRASHED, Outcome.NOT_COMPARED),
    ],
)
def test_a_changed_status_is_a_verdict(tmp_path: Path, base: Status, head: Status, outcome: Outcome) -> None:
    comparison = compared(tmp_path, record(status=base), record(status=head))
    verdict = verdict_on("status", comparison)
    assert (verdict.outcome, verdict.base, verdict.head) == (outcome, base.value, head.value)
    assert bool(comparison.regressions) is (outcome is Outcome.WORSE)


def test_what_was_counted_before_a_cell_failed_is_compared(tmp_path: Path) -> None:
    comparison = compared(tmp_path, record(), record(status=Status.OUT_OF_MEMORY, macs=3000))
    assert {verdict.metric for verdict in comparison.regressions} == {"status", "macs"}
    assert not comparison.about("params")


@pytest.mark.parametrize(
    ("top1", "half_width", "outcome"),
    [
        (0.75, 0.005, Outcome.WORSE),
        (0.85, 0.005, Outcome.BETTER),
        (0.80, 0.005, Outcome.SAME),
        (0.79, 0.02, Outcome.UNDECIDED),
    ],
)
def test_accuracies_are_compared_by_interval(tmp_path: Path, top1: float, half_width: float, outcome: Outcome) -> None:
    comparison = compared(tmp_path, learned(0.80, 0.005), learned(top1, half_width))
    assert verdict_on("accuracy_top1", comparison).outcome is outcome


def test_scores_on_composites_are_compared_as_accuracies_are(tmp_path: Path) -> None:
    scored = [
        replace(
            learned(0.5, 0.01, accuracy_kind="composites"),
            metrics={
                "accuracy_kind": "composites",
                "miou": miou,
                "miou_ci_low": miou - 0.01,
                "miou_ci_high": miou + 0.01,
            },
        )
        for miou in (0.4, 0.3)
    ]
    comparison = compared(tmp_path, *scored)
    assert verdict_on("miou", comparison).outcome is Outcome.WORSE
    assert not comparison.about("accuracy_top1")
    assert comparison.summary().endswith("composites mIoU: 1 worse")


def test_accuracies_of_different_kinds_are_never_mixed(tmp_path: Path) -> None:
    comparison = compared(tmp_path, learned(0.8, 0.01), learned(0.8, 0.01, accuracy_kind="published"))
    verdict = verdict_on("accuracy_top1", comparison)
    assert (verdict.outcome, verdict.reason) == (
        Outcome.NOT_COMPARED,
        "accuracies of different kinds: proxy / published",
    )


def test_another_version_of_the_plugin_answers_the_same_question(tmp_path: Path) -> None:
    comparison = compared(tmp_path, record(), record(cell(distribution="attnbench 0.2.0"), params=101))
    assert [verdict.metric for verdict in comparison.regressions] == ["params"]


def test_of_two_versions_in_one_run_the_one_that_ran_last_counts(tmp_path: Path) -> None:
    early = Record(cell=cell(), status=Status.OK, metrics={"params": 1}, started_at="2026-01-01T00:00:00+00:00")
    late = Record(
        cell=cell(distribution="attnbench 0.2.0"),
        status=Status.OK,
        metrics={"params": 2},
        started_at="2026-01-02T00:00:00+00:00",
    )
    comparison = compare(written(tmp_path / "base", late, early), written(tmp_path / "head", early))
    assert verdict_on("params", comparison).base == 2


def test_a_mechanism_that_gained_an_option_is_still_compared(tmp_path: Path) -> None:
    before, after = cell(options={"window": 7}), cell(options={"window": 7, "qk_norm": False})
    comparison = compared(tmp_path, record(before), record(after, params=101))
    (regression,) = comparison.regressions
    assert regression.reason == "option qk_norm=False in head only"
    assert (comparison.only_in_base, comparison.only_in_head) == ((), ())


def test_a_gained_option_with_two_values_leaves_a_choice_so_nothing_is_matched(tmp_path: Path) -> None:
    base = written(tmp_path / "base", record(cell(options={"window": 7})), record(cell("swin")))
    both = [record(cell(options={"window": 7, "qk_norm": value})) for value in (False, True)]
    comparison = compare(base, written(tmp_path / "head", *both, record(cell("swin"))))
    assert [one.options for one in comparison.only_in_base] == [{"window": 7}]
    assert len(comparison.only_in_head) == 2


def test_cells_that_differ_in_more_than_options_are_not_even_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[Cell, Cell]] = []
    monkeypatch.setattr(pairing, "_agree", lambda base, head: tried.append((base, head)) or True)
    base = [cell("swin"), *(cell(height=side, options={"window": 7}) for side in (32, 64, 96))]
    head = [cell("swin"), *(cell(height=side, options={"window": 7, "new": 1}) for side in (32, 64, 128))]
    compare(written(tmp_path / "base", *map(record, base)), written(tmp_path / "head", *map(record, head)))
    assert [(one.height, other.height) for one, other in tried] == [(32, 32), (64, 64)]


def test_options_with_other_values_are_other_cells(tmp_path: Path) -> None:
    base = written(tmp_path / "base", record(cell(options={"window": 7})), record(cell("swin")))
    comparison = compare(base, written(tmp_path / "head", record(cell(options={"window": 14})), record(cell("swin"))))
    assert (len(comparison.only_in_base), len(comparison.only_in_head)) == (1, 1)


def test_cells_of_one_run_alone_are_listed(tmp_path: Path) -> None:
    base = written(tmp_path / "base", record(), record(cell("swin")))
    comparison = compare(base, written(tmp_path / "head", record(), record(cell("qna"))))
    assert [one.mechanism for one in comparison.only_in_base] == ["swin"]
    assert [one.mechanism for one in comparison.only_in_head] == ["qna"]


def test_runs_without_a_common_cell_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to compare: none of the 1 cells of base is among the 1 of head"):
        compared(tmp_path, record(cell("swin")), record(cell("qna")))


@pytest.mark.parametrize("threshold", [5, 1, -0.1, float("nan")])
def test_a_threshold_in_percent_is_refused(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(UsageError, match=r"write 0\.05 for 5 %"):
        compared(tmp_path, record(), record(), threshold=threshold)


def test_a_run_may_be_given_by_its_records_file(tmp_path: Path) -> None:
    base = with_samples(tmp_path / "base", timed(median_s=0.01), noisy(0.01, seed=1))
    head = with_samples(tmp_path / "head", timed(median_s=0.01), noisy(0.01, seed=2))
    assert compare(base / "records.jsonl", head / "records.jsonl") == compare(base, head)


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        compare(tmp_path / "nowhere", tmp_path / "nowhere")


ENERGY = "energy_per_image_j"


def counted(joules: float, *, spread: float = 0.01, counter: str = "RAPL package-0", **rest: Any) -> Record:
    ends = {
        "energy_per_image_ci_low_j": joules * (1 - spread), "energy_per_image_ci_high_j": joules * (1 + spread)
    }  # fmt: skip
    return record(**{ENERGY: joules, **ends, "energy_counter": counter, **rest})


@pytest.mark.parametrize(
    ("base", "head", "outcome"),
    [
        (counted(1.0), counted(1.2), Outcome.WORSE),
        (counted(1.0), counted(0.8), Outcome.BETTER),
        (counted(1.0), counted(1.001), Outcome.SAME),
        (counted(1.0), counted(1.05), Outcome.UNDECIDED),
    ],
)
def test_energies_are_judged_by_the_interval_of_their_ratio(
    tmp_path: Path, base: Record, head: Record, outcome: Outcome
) -> None:
    verdict = verdict_on(ENERGY, compared(tmp_path, base, head))
    assert verdict.outcome is outcome
    assert verdict.change is not None
    assert verdict.change.value == pytest.approx(head.metrics[ENERGY] / base.metrics[ENERGY])


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (counted(2.0, counter="NVML total energy of the GPU"), "what counted the energy: RAPL package-0 / NVML"),
        (counted(2.0, environment=OTHER_TORCH), "environments differ in"),
        (record(), "not measured in head"),
        (counted(2.0, spread=1.0), "no interval above 0 was recorded"),
    ],
)
def test_energies_that_say_different_things_are_not_compared(tmp_path: Path, head: Record, reason: str) -> None:
    verdict = verdict_on(ENERGY, compared(tmp_path, counted(1.0), head))
    assert verdict.outcome is Outcome.NOT_COMPARED
    assert verdict.reason.startswith(reason)


def test_energies_of_different_environments_are_compared_where_it_is_forced(tmp_path: Path) -> None:
    verdict = verdict_on(ENERGY, compared(tmp_path, counted(1.0), counted(2.0, environment=OTHER_TORCH), force=True))
    assert (verdict.outcome, verdict.reason[:25]) == (Outcome.WORSE, "forced, though environmen")


def test_runs_without_energies_have_nothing_to_say_of_them(tmp_path: Path) -> None:
    assert not compared(tmp_path, record(), record()).about(ENERGY)


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_suspicious_latency_is_not_judged_and_exact_figures_are(tmp_path: Path, side: str) -> None:
    rows = {"base": timed(median_s=0.01), "head": timed(median_s=0.02)}
    rows[side] = replace(rows[side], metrics={**rows[side].metrics, "suspicious": "its threads go on"})
    found = compared(tmp_path, rows["base"], rows["head"])
    verdict = verdict_on(LATENCY, found)
    assert verdict.outcome is Outcome.NOT_COMPARED
    assert verdict.reason == f"{side} is suspicious: its threads go on"
    assert verdict_on("macs", found).outcome is Outcome.SAME
