"""From the records of cells to one figure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_claims import MACS, cell, record, recorded

from attnbench.claims.answer import Unanswered, answer
from attnbench.claims.claim import Check, Take
from attnbench.claims.plan import ClaimPoint
from attnbench.probes.interval import Estimate
from attnbench.record import Record, Status

ENERGY = ("energy_per_image_j", "energy_per_image_ci_low_j", "energy_per_image_ci_high_j")


def test_a_figure_is_read_and_what_is_left_out_taken_off(tmp_path: Path) -> None:
    records = recorded(record(cell(), macs=100, macs_attention=30))
    found = answer(MACS, [ClaimPoint(of=cell())], records, tmp_path)
    assert found.estimate == Estimate(value=100, low=100, high=100)
    less = answer(replace(MACS, less="macs_attention"), [ClaimPoint(of=cell())], records, tmp_path)
    assert less.estimate.value == 70


def test_a_metric_is_taken_off_and_another_added(tmp_path: Path) -> None:
    records = recorded(record(cell(), macs=100, macs_attention=30, ops_elementwise=5))
    plus = answer(replace(MACS, plus="ops_elementwise"), [ClaimPoint(of=cell())], records, tmp_path)
    less = replace(MACS, plus="ops_elementwise", less="macs_attention")
    both = answer(less, [ClaimPoint(of=cell())], records, tmp_path)
    assert (plus.estimate.value, both.estimate.value) == (105, 75)


def test_a_ratio_of_times_is_taken_within_the_rounds(tmp_path: Path) -> None:
    of, over = cell("a"), cell("b")
    drift = np.linspace(1, 3, 40)  # a machine that slows down to a third: medians' quotients would not show 2
    for one, factor, calls in ((of, 2.0, 1), (over, 1.0, 4)):
        elapsed = (drift * factor * 1e6 * calls).astype(np.int64)
        turns = np.array([of.key, over.key])
        np.savez(tmp_path / f"{one.key}.npz", elapsed_ns=elapsed, calls_per_sample=calls, group=turns)
    check = Check(mechanism="a", over="b", metric="latency_median_s", scope="layer")
    records = recorded(record(of, latency_median_s=1.0), record(over, latency_median_s=9.0))
    found = answer(check, [ClaimPoint(of=of, over=over)], records, tmp_path)
    assert found.estimate.value == pytest.approx(2.0, rel=1e-3)
    assert found.estimate.low <= 2.0 <= found.estimate.high
    np.savez(
        tmp_path / f"{over.key}.npz", elapsed_ns=elapsed, calls_per_sample=calls, group=np.array([over.key, "other"])
    )
    with pytest.raises(Unanswered, match="a and b were not timed in the same rounds; --fresh does that"):
        answer(check, [ClaimPoint(of=of, over=over)], records, tmp_path)
    (tmp_path / f"{of.key}.npz").write_bytes(b"cut")
    with pytest.raises(Unanswered, match="cannot read the timed calls"):
        answer(check, [ClaimPoint(of=of, over=over)], records, tmp_path)


@pytest.mark.parametrize("baseline_first", [True, False])
def test_a_baseline_that_was_timed_before_as_well_is_taken_as_it_was_beside_the_other(
    tmp_path: Path, *, baseline_first: bool
) -> None:
    later, baseline = cell("a"), cell("b")
    beside = {"baseline_key": baseline.key, "baseline_elapsed_ns": np.full(8, 1000), "baseline_calls_per_sample": 1}
    own = {"elapsed_ns": np.full(8, 3000), "calls_per_sample": 1, "group": np.array([later.key, baseline.key])}
    np.savez(tmp_path / f"{later.key}.npz", **own, **beside)
    np.savez(tmp_path / f"{baseline.key}.npz", elapsed_ns=np.full(60, 9), calls_per_sample=1, group=[baseline.key])
    check = Check(mechanism="a", over="b", metric="latency_median_s", scope="layer")
    records = recorded(record(later, latency_median_s=1.0), record(baseline, latency_median_s=9.0))
    point = ClaimPoint(of=baseline, over=later) if baseline_first else ClaimPoint(of=later, over=baseline)

    assert answer(check, [point], records, tmp_path).estimate.value == pytest.approx(1 / 3 if baseline_first else 3)


def test_a_ratio_of_energies_holds_what_both_intervals_admit(tmp_path: Path) -> None:
    def joules(value: float, low: float, high: float) -> dict[str, float]:
        return dict(zip(ENERGY, (value, low, high), strict=True))

    check = Check(mechanism="a", over="b", metric=ENERGY[0], scope="layer")
    of, over = cell("a"), cell("b")
    records = recorded(record(of, **joules(4, 3, 5)), record(over, **joules(2, 1, 3)))
    assert answer(check, [ClaimPoint(of=of, over=over)], records, tmp_path).estimate == Estimate(value=2, low=1, high=5)
    unsure = recorded(record(of, **joules(4, 3, 5)), record(over, **joules(2, 0, 4)))
    with pytest.raises(Unanswered, match="energy per image reaches down to 0"):
        answer(check, [ClaimPoint(of=of, over=over)], unsure, tmp_path)


def test_a_formula_is_compared_at_every_size_and_its_growth_fitted(tmp_path: Path) -> None:
    cells = [cell(height=side, width=side) for side in (112, 224, 448)]
    check = replace(MACS, formula="2*N**2*C", left_out="N*C**2")
    tokens = [(each.height // 16) ** 2 for each in cells]
    right = recorded(*(record(each, macs=2 * n**2 * 8 + n * 64) for each, n in zip(cells, tokens, strict=True)))
    found = answer(check, [ClaimPoint(of=each) for each in cells], right, tmp_path)
    assert found.estimate.value == pytest.approx(2)
    assert found.formula_exponent == pytest.approx(2)
    assert found.deviation == pytest.approx(0, abs=1e-12)
    wrong = recorded(*(record(each, macs=2.2 * n**2 * 8 + n * 64) for each, n in zip(cells, tokens, strict=True)))
    assert answer(check, [ClaimPoint(of=each) for each in cells], wrong, tmp_path).deviation == pytest.approx(0.1)


def test_the_largest_figure_says_where_it_was_found(tmp_path: Path) -> None:
    cells = {at: cell(options={"window": int(at)}) for at in ("3", "5", "7")}
    records = recorded(*(record(each, macs=10 * int(at) ** 2) for at, each in cells.items()))
    points = [ClaimPoint(of=each, at=at) for at, each in cells.items()]
    check = replace(MACS, along="window", values=("3", "5", "7"))
    largest = answer(replace(check, take=Take.LARGEST), points, records, tmp_path)
    assert largest.where is not None
    assert (largest.estimate.value, largest.where.at) == (490, "7")
    assert answer(replace(check, take=Take.EXPONENT), points, records, tmp_path).estimate.value == pytest.approx(2)
    with pytest.raises(Unanswered, match="3 figures where one is needed"):
        answer(check, points, records, tmp_path)


def test_a_cell_that_did_not_end_well_answers_nothing_and_says_why(tmp_path: Path) -> None:
    failed = Record(cell=cell(), status=Status.TIMEOUT, reason="took too long")
    for records, said in (
        (recorded(failed), "timeout: took too long"),
        ({}, "was not run"),
        (recorded(record(cell())), "has no macs"),
    ):
        with pytest.raises(Unanswered, match=said):
            answer(MACS, [ClaimPoint(of=cell())], records, tmp_path)


@pytest.mark.parametrize(
    ("change", "macs", "said"),
    [
        ({"over": "b"}, (1, 0), "division by zero"),
        ({"formula": "N/(C - 8)"}, (1,), "division by zero"),
        ({"formula": "(0 - N)**0.5"}, (1,), "has no real value"),
        ({"along": "window", "values": ("1", "2"), "take": Take.EXPONENT}, (1, 2), "at least 3 points, got 2"),
        ({"along": "window", "values": ("1", "2", "3"), "take": Take.EXPONENT}, (0, 1, 2), "needs positive figures"),
    ],
)
def test_figures_that_allow_no_arithmetic_answer_nothing_and_say_why(
    change: dict[str, object], macs: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    check = replace(MACS, **change)
    cells = [cell(options={"window": at}) for at in range(1, len(macs) + 1)]
    records = recorded(*(record(each, macs=figure) for each, figure in zip(cells, macs, strict=True)))
    points = [ClaimPoint(of=each, at=str(at)) for at, each in enumerate(cells, start=1)]
    if check.over:
        points = [ClaimPoint(of=cells[0], over=cells[1])]
    with pytest.raises(Unanswered, match=said):
        answer(check, points, records, tmp_path)
