from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from attnbench.metrics import (
    COLUMNS,
    METRICS,
    Better,
    Compared,
    Needs,
    compared,
    format_interval,
    format_value,
    is_number,
    of,
    scale,
)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("latency_median_s", 0.016, "16.0 ms"),
        ("latency_median_s", 3.21e-5, "32.1 µs"),
        ("latency_median_s", 1234.0, "1234 s"),
        ("params", 5_717_416, "5.72 M"),
        ("macs", 4.49e9, "4.49 GMACs"),
        ("flops", 812, "812 FLOPs"),
        ("memory_peak_bytes", 28.1 * 2**20, "28.1 MiB"),
        ("memory_peak_bytes", 0, "0 B"),
        ("accuracy_top1", 0.8134, "81.3 %"),
        ("throughput_img_per_s", 2749.4, "2749 img/s"),
        ("latency_ratio", 0.9861, "0.986"),
        ("latency_samples", 42.0, "42"),
        ("latency_samples", 12_345, "12345"),
        ("latency_stopped_by", "max-time", "max-time"),
    ],
)
def test_values_are_printed_with_three_digits_and_their_unit(metric, value, text):
    assert format_value(metric, value) == text


def test_rounding_up_to_the_next_unit_moves_on_to_that_unit():
    assert format_value("latency_median_s", 9.997e-4) == "1.00 ms"
    assert format_value("latency_median_s", 9.994e-4) == "999 µs"
    assert format_value("latency_ratio", 9.996) == "10.0"


@pytest.mark.parametrize("nothing", [None, math.nan, np.nan, pd.NA, pd.NaT])
def test_what_is_missing_is_printed_as_nothing(nothing):
    assert format_value("latency_median_s", nothing) == ""
    assert not is_number(nothing)


@pytest.mark.parametrize("number", [1, 1.5, np.float32(1.5), np.int64(3)])
def test_numbers_of_numpy_are_numbers(number):
    assert is_number(number)


def test_an_interval_shares_the_unit_and_the_digits_of_its_value():
    assert format_interval("latency_median_s", 0.016, 0.0158, 0.0163) == "16.0 ms [15.8, 16.3]"
    assert format_interval("accuracy_top1", 0.81, 0.8, 0.82) == "81.0 % [80.0, 82.0]"


def test_a_narrow_interval_is_not_rounded_to_a_point():
    assert format_interval("latency_median_s", 0.016, 0.01599, 0.016012) == "16.00 ms [15.99, 16.01]"


def test_a_value_without_an_interval_stands_alone():
    assert format_interval("latency_ratio", 1.25, None, math.nan) == "1.25"


def test_values_of_a_column_share_one_unit():
    unit = scale("memory_peak_bytes", [60 * 2**20, 300 * 2**20, None, math.nan])
    assert unit.unit == "MiB"
    assert unit.number(2**30) == "1024"


def test_an_unknown_metric_is_an_error():
    with pytest.raises(KeyError):
        format_value("latncy", 1.0)


def test_every_metric_with_a_unit_says_so_in_its_name():
    written = {"s": "s", "B": "bytes", "img/s": "img_per_s"}
    for name, metric in METRICS.items():
        assert metric.label, name
        if metric.unit in written:
            assert f"_{written[metric.unit]}_" in f"_{name}_"


@pytest.mark.parametrize("endless", [math.inf, -math.inf])
def test_what_is_not_finite_was_not_measured(endless):
    assert not is_number(endless)
    assert format_value("latency_median_s", endless) == ""


def test_what_rows_refer_to_is_in_the_table():
    for metric in METRICS.values():
        named = (*metric.ends, metric.unit_of, metric.ratio_of, metric.inverse_of, metric.plot and metric.plot.against)
        assert set(filter(None, named)) <= METRICS.keys()


def test_an_interval_has_two_ends_right_after_its_metric_with_its_unit():
    names = list(METRICS)
    for place, (name, metric) in enumerate(METRICS.items()):
        if metric.ends:
            assert tuple(names[place + 1 : place + 3]) == metric.ends, name
            assert {METRICS[end].unit for end in metric.ends} == {metric.unit}


def test_the_columns_of_a_narrow_screen_go_in_an_order_that_is_said_for_all_but_latency():
    ranks = {name: METRICS[name].gives_way for name in COLUMNS}
    assert ranks.pop("latency_median_s") is None
    assert None not in ranks.values()
    assert len(set(ranks.values())) == len(ranks)


def test_what_must_repeat_exactly_has_a_better_way_and_takes_no_timing():
    for name in compared(Compared.EXACT):
        assert METRICS[name].better is not Better.NEITHER
        assert METRICS[name].needs in {Needs.COUNTS, Needs.MEMORY}


def test_what_is_compared_by_interval_has_one():
    assert all(METRICS[name].ends for how in (Compared.RATIO, Compared.DIFFERENCE) for name in compared(how))


def test_a_metric_is_known_after_one_depth():
    assert sorted(name for needs in Needs for name in of(needs)) == sorted(METRICS)


def test_numbers_of_shown_columns_say_what_they_count():
    assert all(METRICS[name].unit_in_file for name in COLUMNS)
