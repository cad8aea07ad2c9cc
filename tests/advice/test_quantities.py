"""Limits as people write them."""

from __future__ import annotations

import pytest

from attnbench.advice.quantities import quantity


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("500ms", "latency_median_s", 0.5),
        ("1.5 s", "latency_median_s", 1.5),
        ("20us", "latency_median_s", 20e-6),
        ("2GiB", "memory_peak_bytes", 2 * 2**30),
        ("500MB", "memory_peak_bytes", 500e6),
        ("30M", "params", 30e6),
        ("30000000", "params", 30e6),
        ("4.5GMACs", "macs", 4.5e9),
        ("80", "accuracy_top1", 0.8),
        ("80.5%", "accuracy_top1", 0.805),
        ("100", "throughput_img_per_s", 100),
        ("30mJ", "energy_per_image_j", 0.03),
    ],
)
def test_a_quantity_is_read_in_the_unit_of_its_metric(text: str, metric: str, value: float) -> None:
    assert quantity(text, metric) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "metric", "said"),
    [
        ("500", "latency_median_s", "expected latency such as 500ms or 1.5s, got '500'"),
        ("-5ms", "latency_median_s", "expected latency such as 500ms or 1.5s, got '-5ms'"),
        ("0ms", "latency_median_s", "expected a number above 0, such as 500ms or 1.5s, got '0ms'"),
        ("1e999s", "latency_median_s", "expected a number above 0"),
        ("nan", "params", "expected parameters such as 30M or 4.5G, got 'nan'"),
        ("2 GHz", "memory_peak_bytes", "expected peak memory such as 500MB or 2GiB, got '2 GHz'"),
        ("0.8", "accuracy_top1", "expected per cent from 1 to 100, such as 80 for 80 %, got '0.8'"),
        ("101", "accuracy_top1", "expected per cent from 1 to 100"),
        ("", "latency_median_s", "got ''"),
    ],
)
def test_what_is_none_is_refused_with_what_would_do(text: str, metric: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        quantity(text, metric)
