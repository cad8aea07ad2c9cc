from __future__ import annotations

import pandas as pd
import pytest
from records_for_reports import BUILT_IN, default_run, failed, row, single_resolution, with_accuracy

from attnbench.report.comparison import prepared
from attnbench.report.sheet import book


def book_of(*rows):
    return book(prepared(pd.DataFrame(list(rows))))


def best(metric, *rows):
    (sheet,) = book_of(*rows).sheets
    return [line.name for line in sheet.lines if metric in line.entries and line.entries[metric].best]


def timed(name, median, low, high, **columns):
    return row(name, latency_median_s=median, latency_ci_low_s=low, latency_ci_high_s=high, **columns)


def test_the_fastest_is_best():
    assert best("latency_median_s", timed("a", 3, 2.9, 3.1), timed("b", 2, 1.9, 2.1), timed("c", 4, 3.9, 4.1)) == ["b"]


def test_an_interval_that_overlaps_that_of_the_best_is_not_worse():
    rows = timed("a", 2.15, 2.05, 2.2), timed("b", 2, 1.9, 2.1), timed("c", 2.3, 2.11, 2.4)
    assert best("latency_median_s", *rows) == ["a", "b"]


def test_a_wide_interval_does_not_make_the_slower_one_the_measure():
    # c reaches below everything, yet the best median is b's: a lies beyond it and is worse.
    rows = timed("a", 2.5, 2.4, 2.6), timed("b", 2, 1.9, 2.1), timed("c", 3, 1.0, 5.0)
    assert best("latency_median_s", *rows) == ["b", "c"]


def test_throughput_ties_where_the_latency_it_comes_from_ties():
    rows = [
        timed("a", 2.15, 2.05, 2.2, throughput_img_per_s=1 / 2.15),
        timed("b", 2, 1.9, 2.1, throughput_img_per_s=1 / 2),
        timed("c", 4, 3.9, 4.1, throughput_img_per_s=1 / 4),
    ]
    assert best("throughput_img_per_s", *rows) == ["a", "b"]


def test_the_highest_accuracy_is_best():
    one = {"accuracy_kind": "proxy", "accuracy_status": "ok"}
    rows = [
        row("a", accuracy_top1=0.7, accuracy_ci_low=0.69, accuracy_ci_high=0.71, **one),
        row("b", accuracy_top1=0.8, accuracy_ci_low=0.79, accuracy_ci_high=0.81, **one),
    ]
    assert best("accuracy_top1", *rows) == ["b"]


def test_accuracies_of_different_kinds_are_not_ranked():
    rows = row("a", accuracy_top1=0.7, accuracy_kind="proxy"), row("b", accuracy_top1=0.8, accuracy_kind="published")
    assert best("accuracy_top1", *rows) == []


@pytest.mark.parametrize("other", [{"dataset": "letters"}, {"epochs": 100}])
def test_accuracies_on_different_data_or_after_different_epochs_are_not_ranked(other):
    learned = {"accuracy_kind": "proxy", "dataset": "digits", "epochs": 10}
    low, high = row("a", accuracy_top1=0.7, **learned), row("b", accuracy_top1=0.9, **learned)
    assert best("accuracy_top1", low, high) == ["b"]
    assert best("accuracy_top1", low, high | other) == []


def test_nobody_is_best_where_all_are_equal():
    assert best("macs", row("a"), row("b")) == []
    assert best("macs", row("a")) == []


def test_a_cell_that_failed_is_not_best_in_what_was_counted():
    rows = failed("a", 224, "crashed", "signal 9", macs=1), row("b", macs=2), row("c", macs=3)
    assert best("macs", *rows) == ["b"]


def test_a_failed_cell_keeps_its_place_and_what_was_counted():
    frame = default_run()
    for sheet in book(prepared(frame)).sheets:
        assert tuple(line.name for line in sheet.lines) == BUILT_IN
    last = book(prepared(frame)).sheets[-1].lines[-1]
    assert last.failure.startswith("out-of-memory: needs 43.1 GiB")
    assert "macs" in last.entries
    assert "latency_median_s" not in last.entries


def test_every_sheet_has_the_same_units():
    sheets = book(prepared(default_run())).sheets
    assert len({tuple(sheet.measures.items()) for sheet in sheets}) == 1


def test_macs_and_those_of_attention_share_a_unit():
    (sheet,) = book_of(row(macs=4.49e9, macs_attention=0.26e9)).sheets
    assert sheet.measures["macs"].unit == sheet.measures["macs_attention"].unit == "GMACs"
    assert sheet.lines[0].entries["macs_attention"].value == "0.260"


def test_the_margin_is_the_farther_end_of_the_interval():
    (sheet,) = book_of(timed("a", 0.016, 0.01572, 0.01631)).sheets
    entry = sheet.lines[0].entries["latency_median_s"]
    assert (entry.value, entry.interval, entry.brief) == ("16.0", "[15.7, 16.3]", "±0.3")


@pytest.mark.parametrize(
    ("value", "low", "high", "brief"),
    [
        (0.918, 0.268, 2.074, "[0.3, 2.1]"),
        (0.668, 0.154, 0.812, "[0.15, 0.81]"),
        (0.80, 0.78, 0.82, "±0.020"),
        (0.950, 0.905, 0.994, "±0.045"),
        # Read as ±, these two would reach 1, and do not.
        (0.950, 0.900, 0.996, "[0.900, 0.996]"),
        (1.05, 1.006, 1.101, "[1.01, 1.10]"),
        (1.00, 0.96, 1.05, "±0.05"),
    ],
)
def test_a_ratio_is_read_on_the_side_of_one_where_its_interval_lies(value, low, high, brief):
    ratio = {"latency_ratio": value, "latency_ratio_ci_low": low, "latency_ratio_ci_high": high}
    (sheet,) = book_of(row("a", **ratio)).sheets
    assert sheet.lines[0].entries["latency_ratio"].brief == brief


def test_columns_nobody_asked_for_are_not_there():
    (plain,) = book(prepared(single_resolution())).sheets
    (trained,) = book(prepared(with_accuracy(single_resolution()).assign(memory_saved_bytes=2**20))).sheets
    assert set(trained.measures) - set(plain.measures) == {"accuracy_top1", "memory_saved_bytes"}


def test_rows_that_share_a_note_share_its_number():
    found = book_of(
        row("a", adaptation="padded"), row("b"), row("c", adaptation="padded", latency_stopped_by="max-time")
    )
    assert [line.notes for line in found.sheets[0].lines] == [(1,), (), (1, 2)]
    assert found.notes[0] == "adapted: padded"
    assert "time limit" in found.notes[1]


def test_what_disturbed_the_timing_is_a_note():
    assert book_of(row(latency_interference="load 3.1")).notes == ("timing disturbed: load 3.1",)


def test_counts_that_disagree_by_more_than_a_percent_are_shown():
    assert book_of(row(macs_closed=100_000_000, macs_torch=100_900_000)).notes == ()
    (note,) = book_of(row(macs_closed=100_000_000, macs_torch=102_000_000)).notes
    assert note == "MACs disagree: 100 M by closed form, 102 M by torch"


def test_an_accuracy_that_failed_is_a_note_with_its_reason():
    found = book_of(row(accuracy_status="timeout", accuracy_reason="no answer within 600 s"))
    assert found.notes == ("no accuracy: timeout, no answer within 600 s",)


def test_several_baselines_are_not_called_by_one_name():
    (sheet,) = book_of(row("a", baseline="a"), row("b", baseline="b")).sheets
    assert sheet.measures["latency_ratio"].against == "baseline"


def test_the_rows_of_a_frame_are_gone_through_once_for_notes_and_sheets(monkeypatch):
    gone_through = []
    itertuples = pd.DataFrame.itertuples
    monkeypatch.setattr(pd.DataFrame, "itertuples", lambda rows: gone_through.append(rows) or itertuples(rows))
    pages = book_of(row("a"), row("b"), row("a", 512), row("b", 512))
    assert len(pages.sheets) == 2
    assert sum(map(len, gone_through)) == 4


def test_a_latency_of_0_has_no_interval_of_a_throughput():
    assert best("throughput_img_per_s", timed("a", 0.0, 0.0, 0.0), timed("b", 2, 1.9, 2.1)) == ["a"]


def test_latencies_of_different_runs_are_not_ranked_and_ratios_are():
    apart = [timed("a", 0.016, 0.0157, 0.0163), timed("b", 0.008, 0.0078, 0.0082) | {"run_id": "r2"}]
    ratios = [
        {"latency_ratio": 1.0},
        {"latency_ratio": 0.5, "latency_ratio_ci_low": 0.49, "latency_ratio_ci_high": 0.51},
    ]
    pages = book_of(*(one | ratio for one, ratio in zip(apart, ratios, strict=True)))
    (sheet,) = pages.sheets
    first, second = sheet.lines
    assert "timed in run r2, as was the baseline of its ratio" in pages.notes[second.notes[0] - 1]
    assert first.notes != second.notes
    assert not second.entries["latency_median_s"].best
    assert second.entries["latency_ratio"].best


def test_a_suspicious_row_is_not_ranked_and_its_note_says_why():
    found = book_of(timed("fast", 0.001, 0.0009, 0.0011, suspicious="its threads go on"), timed("slow", 2, 1.9, 2.1))
    assert found.notes == ("suspicious, and not ranked: its threads go on",)
    assert not any(line.entries["latency_median_s"].best for line in found.sheets[0].lines)


def test_multiply_adds_that_are_in_doubt_are_not_ranked_and_the_latency_is():
    doubted = timed("fast", 0.001, 0.0009, 0.0011, macs=7, macs_doubt="mine.attend may do any amount of work")
    found = book_of(doubted, timed("slow", 2, 1.9, 2.1, macs=9))
    assert found.notes == ("MACs are not ranked: mine.attend may do any amount of work",)
    first, _ = found.sheets[0].lines
    assert first.entries["latency_median_s"].best
    assert not any(line.entries["macs"].best for line in found.sheets[0].lines)


def test_a_row_without_multiply_adds_says_why():
    why = "count_torch fails: ValueError: FlexAttention is not supported on meta"
    uncounted, counted = row("a", macs=None, macs_remark=why), row("b")
    found = book_of(uncounted, counted)
    (sheet,) = found.sheets
    said = {line.name: [found.notes[number - 1] for number in line.notes] for line in sheet.lines}
    assert said["a"] == [f"no MACs: {why}"]
    assert said["b"] == []
