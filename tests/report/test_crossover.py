from __future__ import annotations

import math
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from records_for_reports import default_run, failed, many_mechanisms, row

from attnbench.report.comparison import prepared
from attnbench.report.crossing import Gap, along
from attnbench.report.crossover import KEPT, CrossingKind, baseline_of, crossings, crossovers
from attnbench.report.standings import write_csv

SIDES = (112, 224, 448)


def exact(name, values, sides=SIDES, metric="macs", **columns):
    """Return rows of a metric without intervals."""
    return [row(name, side, **{metric: value} | columns) for side, value in zip(sides, values, strict=True)]


def timed(name, ratios, sides=SIDES, margin=0.01, **columns):
    """Return rows whose latency is so many times the baseline's, whose own is 1; an interval each way of a margin."""
    own = name == "mhsa"
    return [
        row(name, side)
        | {
            "latency_median_s": ratio,
            "latency_ci_low_s": ratio * (1 - 3 * margin),
            "latency_ci_high_s": ratio * (1 + 3 * margin),
            "latency_ratio": ratio,
            "latency_ratio_ci_low": ratio * (1 if own else 1 - margin),
            "latency_ratio_ci_high": ratio * (1 if own else 1 + margin),
        }
        | columns
        for side, ratio in zip(sides, ratios, strict=True)
    ]


def one(rows, metric="macs", first="swin", second="mhsa"):
    (found,) = crossings(pd.DataFrame(rows), first, second, metric)
    return found


def against_mhsa(ratios, sides=SIDES, margin=0.01):
    """Return how latencies stand to a baseline of 1."""
    rows = timed("swin", ratios, sides, margin) + timed("mhsa", [1] * len(sides), sides)
    return one(rows, "latency_median_s")


@pytest.mark.parametrize("side", [112.5, 150, 224 * math.sqrt(2), 447])
@pytest.mark.parametrize("metric", ["macs", "params", "memory_peak_bytes"])
def test_where_a_power_overtakes_another_is_recovered(side, metric):
    linear, quadratic = [each**2 for each in SIDES], [each**4 / side**2 for each in SIDES]
    found = one(exact("swin", linear, metric=metric) + exact("mhsa", quadratic, metric=metric), metric)
    (crossing,) = found.crossings
    assert crossing.resolution == pytest.approx(side)
    assert (crossing.leads_below, crossing.leads_above) == ("mhsa", "swin")
    assert (crossing.kind, crossing.certain) == (CrossingKind.BRACKET, True)
    assert (crossing.low, crossing.high) == ((112, 224) if side < 224 else (224, 448))


def test_a_latency_has_its_interval_from_those_of_the_ratio():
    (crossing,) = against_mhsa([1.2, 1.1, 0.9]).crossings
    ends = {}
    for name, factor in (("low", 0.99), ("middle", 1.0), ("high", 1.01)):
        a, b = math.log(1.1 * factor), math.log(0.9 * factor)
        ends[name] = 224 * 2 ** (a / (a - b))
    assert (crossing.low, crossing.resolution, crossing.high) == pytest.approx(tuple(ends.values()))
    assert (crossing.kind, crossing.below, crossing.above) == (CrossingKind.INTERVAL, 224, 448)


def test_every_crossing_is_found():
    found = against_mhsa([1.2, 0.8, 1.3, 0.9], (112, 224, 336, 448))
    assert [(each.below, each.above, each.leads_above) for each in found.crossings] == [
        (112, 224, "swin"),
        (224, 336, "mhsa"),
        (336, 448, "swin"),
    ]
    assert all(each.low < each.resolution < each.high for each in found.crossings)


def test_without_a_crossing_it_is_said_who_leads_and_up_to_where():
    found = against_mhsa([0.9, 0.8, 0.7])
    assert (found.crossings, found.leader) == ((), "swin")
    assert found.words == "ahead at 112 to 448"
    assert against_mhsa([1.1, 1.2, 1.3]).words == "behind at 112 to 448"


def test_an_undecided_resolution_between_widens_the_interval():
    (narrow,) = against_mhsa([1.2, 0.8], (112, 448)).crossings
    (wide,) = against_mhsa([1.2, 1.005, 0.8]).crossings
    assert (wide.below, wide.above) == (112, 448)
    assert wide.low < 224 < wide.high
    assert wide.high - wide.low > narrow.high - narrow.low


def test_undecided_at_the_largest_leaves_the_crossing_open_above():
    found = against_mhsa([1.2, 1.1, 1.001])
    (crossing,) = found.crossings
    assert (crossing.certain, crossing.high, crossing.above, crossing.below) == (False, None, None, 224)
    assert 224 < crossing.low < 448
    assert crossing.resolution is None
    assert found.words == f"behind at 112 and 224; may overtake above {crossing.low:.0f} (not certain at 448)"


def test_undecided_at_the_smallest_leaves_the_crossing_open_below():
    found = against_mhsa([1.001, 0.9, 0.8])
    (crossing,) = found.crossings
    assert (crossing.certain, crossing.low, crossing.below, crossing.above) == (False, None, None, 224)
    assert crossing.resolution < crossing.high < 224
    assert found.words == f"ahead at 224 and 448; may be behind below {crossing.high:.0f} (not certain at 112)"


def test_two_resolutions_of_which_one_is_undecided_are_told_in_a_plain_sentence():
    found = against_mhsa([1.3, 1.001], (64, 128))
    (low,) = (crossing.low for crossing in found.crossings)
    assert found.words == f"behind at 64; may overtake above {low:.0f} (not certain at 128)"
    turned = against_mhsa([0.7, 1.001], (64, 128))
    assert turned.words.startswith("ahead at 64; may fall behind above ")


def test_what_is_not_certain_after_a_crossing_is_told_after_it():
    found = against_mhsa([1.2, 0.8, 1.001])
    assert re.fullmatch(r"ahead from \d+ \[\d+, \d+\]; may fall behind above \d+ \(not certain at 448\)", found.words)


def test_resolutions_between_which_others_lie_are_listed():
    found = against_mhsa([0.9, 0.9, 1.001, 0.9], (64, 112, 224, 448))
    assert found.words == "ahead at 64, 112 and 448; undecided at 224"


def test_undecided_between_two_leads_of_the_same_is_said_and_no_crossing():
    found = against_mhsa([0.9, 1.001, 0.9])
    assert found.crossings == ()
    assert found.words == "ahead at 112 and 448; undecided at 224"


def test_two_that_tie_everywhere_are_undecided():
    assert one(exact("swin", [5, 6, 7]) + exact("mhsa", [5, 6, 7])).words == "level at 112 to 448"
    assert against_mhsa([1.005, 0.995, 1]).words == "undecided at 112 to 448"


def test_exact_figures_that_are_equal_at_an_end_do_not_cross():
    found = one(exact("swin", [5, 6, 7]) + exact("mhsa", [5, 7, 8]))
    assert found.crossings == ()
    assert found.words == "ahead at 224 and 448; level at 112"


def test_exact_figures_that_are_equal_where_they_cross_have_the_resolutions_around():
    (crossing,) = one(exact("swin", [9, 6, 5]) + exact("mhsa", [8, 6, 6])).crossings
    assert (crossing.low, crossing.resolution, crossing.high) == (112, 224, 448)


def test_a_failed_cell_is_no_crossing_and_no_end():
    rows = timed("swin", [0.9, 0.8, 0.7]) + timed("mhsa", [1, 1], (112, 224))
    rows.append(failed("mhsa", 448, "out-of-memory", "needs 9 GiB"))
    found = one(rows, "latency_median_s")
    assert found.words == "ahead at 112 and 224"
    assert found.resolutions == (112, 224)


def test_a_resolution_that_one_lacks_widens_the_bracket():
    rows = exact("swin", [9, 8, 7]) + exact("mhsa", [8, 9], (112, 448))
    assert [(each.low, each.high) for each in one(rows).crossings] == [(112, 448)]


def test_one_common_resolution_is_no_curve():
    rows = exact("swin", [9, 8, 7]) + exact("mhsa", [8], (112,))
    assert crossings(pd.DataFrame(rows), "swin", "mhsa", "macs") == []


def test_images_that_are_not_square_are_left_out():
    rows = exact("swin", [1, 2, 3]) + exact("mhsa", [2, 3, 4])
    wide = [row("swin", 224, 448, macs=9), row("mhsa", 224, 448, macs=1)]
    assert one(rows + wide).crossings == ()
    assert crossings(pd.DataFrame([*wide, row("swin", 448, 224), row("mhsa", 448, 224)]), "swin", "mhsa", "macs") == []


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": "bfloat16"},
        {"batch": 8},
        {"mode": "train"},
        {"device": "cuda"},
        {"threads": 1},
        {"hardware": "H200"},
        {"environment_id": "e2"},
        {"scope": "layer", "stage": 3},
    ],
)
def test_settings_are_not_mixed(other):
    here = timed("swin", [0.9, 0.9, 0.9]) + timed("mhsa", [1, 1, 1])
    there = timed("swin", [1.1, 1.1], (336, 512), **other) + timed("mhsa", [1, 1], (336, 512), **other)
    found = crossings(pd.DataFrame(here + there), "swin", "mhsa", "latency_median_s")
    assert [each.words for each in found] == ["ahead at 112 to 448", "behind at 336 and 512"]
    assert len({each.conditions for each in found}) == 2


def test_a_resumed_sweep_is_one_sweep():
    rows = timed("swin", [1.2, 0.8], (112, 224)) + timed("mhsa", [1, 1], (112, 224))
    rows += timed("swin", [0.7], (448,), run_id="r2") + timed("mhsa", [1], (448,), run_id="r2")
    assert one(rows, "latency_median_s").resolutions == SIDES


def test_two_runs_of_the_same_cells_are_not_mixed():
    rows = [
        each
        for run, ratios in (("r1", [1.2, 1.1, 1.1]), ("r2", [0.9, 0.8, 0.8]))
        for each in timed("swin", ratios, run_id=run) + timed("mhsa", [1, 1, 1], run_id=run)
    ]
    found = crossings(pd.DataFrame(rows), "swin", "mhsa", "latency_median_s")
    assert [(each.conditions, each.crossings) for each in found] == [(("run r1",), ()), (("run r2",), ())]


def test_counts_are_compared_once_whatever_the_type():
    frame = pd.concat([default_run(), default_run().assign(dtype="bfloat16", run_id="r2")])
    assert len(crossings(frame, "swin", "mhsa", "macs")) == 1
    assert len(crossings(frame, "swin", "mhsa", "memory_peak_bytes")) == 2


def test_counts_that_differ_between_heads_are_told_apart():
    rows = exact("swin", [1, 2, 3]) + exact("mhsa", [2, 3, 4])
    dense = exact("swin", [9, 9, 9], head="segmentation") + exact("mhsa", [2, 3, 4], head="segmentation")
    found = crossings(pd.DataFrame(rows + dense), "swin", "mhsa", "macs")
    assert [each.words for each in found] == ["ahead at 112 to 448", "behind at 112 to 448"]


def test_two_without_the_baseline_are_compared_by_their_ratios_to_it():
    rows = timed("swin", [1.3, 1.1, 0.9]) + timed("qna", [1, 1.05, 1.1]) + timed("mhsa", [1, 1, 1])
    (crossing,) = one(rows, "latency_median_s", "swin", "qna").crossings
    # Both ends of both intervals against each other: (1 + 0.01) / (1 - 0.01) each way.
    a, b = math.log(1.1 / 1.05), math.log(0.9 / 1.1)
    apart = math.log(1.01 / 0.99)
    assert crossing.low == pytest.approx(224 * 2 ** ((a - apart) / (a - b)))
    assert crossing.high == pytest.approx(224 * 2 ** ((a + apart) / (a - b)))


def test_without_a_baseline_the_medians_own_intervals_are_taken():
    nothing = {"latency_ratio": None, "baseline": None, "is_baseline": False}
    rows = timed("swin", [1.3, 1.2, 0.8], **nothing) + timed("mhsa", [1, 1, 1], **nothing)
    (wide,) = one(rows, "latency_median_s").crossings
    (narrow,) = against_mhsa([1.3, 1.2, 0.8]).crossings
    assert wide.low < narrow.low < narrow.high < wide.high


def test_ratios_to_different_baselines_are_not_divided():
    rows = timed("swin", [2, 2, 2], latency_median_s=0.5, latency_ci_low_s=0.5, latency_ci_high_s=0.5, baseline="qna")
    rows += timed("mhsa", [1, 1, 1])
    assert one(rows, "latency_median_s").words == "ahead at 112 to 448"


def test_a_latency_without_an_interval_decides_nothing():
    rows = timed("swin", [1.3, 1.2, 0.8], latency_ratio_ci_low=None, latency_ci_low_s=None) + timed("mhsa", [1, 1, 1])
    assert crossings(pd.DataFrame(rows), "swin", "mhsa", "latency_median_s") == []


def test_a_throughput_crosses_where_the_latency_does():
    rows = timed("swin", [1.2, 1.1, 0.9]) + timed("mhsa", [1, 1, 1])
    by_latency, by_throughput = (one(rows, metric) for metric in ("latency_median_s", "throughput_img_per_s"))
    assert by_throughput.crossings == by_latency.crossings
    assert by_throughput.words == by_latency.words


def test_the_higher_accuracy_leads():
    ends = {"accuracy_ci_low": 0.79, "accuracy_ci_high": 0.81}
    rows = exact("swin", [0.8] * 3, metric="accuracy_top1", **ends)
    rows += exact("mhsa", [0.7] * 3, metric="accuracy_top1", accuracy_ci_low=0.69, accuracy_ci_high=0.71)
    assert one(rows, "accuracy_top1").words == "ahead at 112 to 448"


def test_the_order_of_the_two_changes_words_and_no_place():
    rows = timed("swin", [1.2, 1.1, 0.9]) + timed("mhsa", [1, 1, 1])
    found, turned = one(rows, "latency_median_s"), one(rows, "latency_median_s", "mhsa", "swin")
    assert [(each.low, each.high, each.leads_above) for each in turned.crossings] == [
        (pytest.approx(each.low), pytest.approx(each.high), each.leads_above) for each in found.crossings
    ]
    assert turned.words == found.words.replace("ahead", "behind")


def test_the_order_of_the_rows_changes_nothing():
    rows = timed("swin", [1.2, 1.1, 0.9]) + timed("mhsa", [1, 1, 1])
    assert one(rows[::-1], "latency_median_s").crossings == one(rows, "latency_median_s").crossings


@pytest.mark.parametrize("likeness", [-0.9, 0.0, 0.9])
def test_the_interval_holds_the_crossing_as_often_as_the_intervals_do_the_ratios(likeness):
    rng, deviation = np.random.default_rng(0), 0.03
    true, place = np.array([0.1, 0.02, -0.06, -0.12]), 224 * 2 ** (0.02 / 0.08)
    errors = rng.normal(0, deviation, (4000, 4))
    errors[:, 2] = likeness * errors[:, 1] + math.sqrt(1 - likeness**2) * errors[:, 2]
    held = 0
    for values in true + errors:
        gaps = [
            Gap(side=side, value=value, low=value - 1.96 * deviation, high=value + 1.96 * deviation)
            for side, value in zip((112, 224, 448, 896), values.tolist(), strict=True)
        ]
        found = along(gaps, kind=CrossingKind.INTERVAL, first="a", second="b")
        held += any((each.low or 0) <= place <= (each.high or math.inf) for each in found)
    assert held / 4000 >= 0.945


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("swim", "mhsa", "macs"), "no 'swim' to compare; did you mean swin"),
        (("swin", "mhsa", "mac"), "no 'mac' to compare; did you mean macs"),
        (("swin", "mhsa", "adaptation"), "adaptation is better neither lower nor higher"),
    ],
)
def test_what_cannot_be_compared_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        crossings(default_run(), *arguments)


def test_all_pairs_are_there_the_baseline_second():
    found = [each for each in crossovers(prepared(many_mechanisms())) if each.metric == "macs"]
    assert len(found) == 14 * 13 / 2
    assert [each.second for each in found[:13]] == ["mhsa"] * 13
    assert "mhsa" not in {each.first for each in found}


def test_two_baselines_are_none():
    assert baseline_of(pd.DataFrame([row(), row("swin", is_baseline=True)])) == ""


def test_a_file_has_a_line_for_every_crossing_and_for_every_pair_without(tmp_path):
    rows = timed("swin", [1.2, 0.8, 1.3]) + timed("qna", [0.9, 0.8, 1.001]) + timed("mhsa", [1, 1, 1])
    write_csv(crossovers(prepared(pd.DataFrame(rows))), tmp_path / "crossovers.csv")
    found = pd.read_csv(tmp_path / "crossovers.csv", keep_default_na=False)
    latency = found[(found["metric"] == "latency_median_s") & (found["second"] == "mhsa")]
    assert latency["outcome"].tolist() == ["certain", "certain", "perhaps"]
    assert latency["below"].tolist() == ["112", "224", "224"]
    assert latency["high"].tolist()[2] == ""
    assert set(found["metric"]) == set(KEPT) - {"memory_saved_bytes", "energy_per_image_j"}
    assert {"none", "undecided"} >= set(found[found["metric"] == "params"]["outcome"])


def test_without_pairs_there_is_no_file_and_none_left_from_before(tmp_path):
    path = tmp_path / "crossovers.csv"
    path.write_text("old")
    write_csv(crossovers(prepared(default_run().query("res_height == 224"))), path)
    assert not path.exists()
    assert crossovers(prepared(pd.DataFrame())) == []


def test_crossovers_import_neither_torch_nor_matplotlib():
    code = (
        "import sys, attnbench.report.standings\nsys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_multiply_adds_that_are_in_doubt_cross_nothing_and_the_latencies_do():
    rows = timed("swin", (0.5, 0.8, 2), macs_doubt="they leave out aten.cumsum") + timed("mhsa", (1, 1, 1))
    rows = pd.DataFrame([row | {"macs": place} for place, row in enumerate(rows, start=1)])
    assert crossings(rows, "swin", "mhsa", "macs") == []
    assert crossings(rows, "swin", "mhsa", "latency_median_s")


def test_what_is_suspicious_crosses_nothing():
    rows = timed("swin", (0.5, 0.8, 2), suspicious="faster than the machine") + timed("mhsa", (1, 1, 1))
    assert crossings(pd.DataFrame(rows), "swin", "mhsa", "latency_median_s") == []
