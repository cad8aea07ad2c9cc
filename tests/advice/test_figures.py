"""What is known of a mechanism at a resolution: measured, read off between measured ones, or nothing."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from records_for_reports import failed, row

from attnbench.advice.figures import Known, Unknown, figure
from attnbench.report.comparison import prepared


def rows(*given: dict[str, Any]) -> list[Any]:
    keyed = [{"cell_key": f"key{place}"} | each for place, each in enumerate(given)]
    return list(prepared(pd.DataFrame(keyed)).itertuples())


def at(given: list[Any], metric: str, height: int, width: int | None = None) -> Known | Unknown:
    return figure(given, metric, height=height, width=width or height)


def test_what_was_measured_is_taken_as_it_is() -> None:
    found = at(rows(row("qna", 224), row("qna", 512)), "latency_median_s", 224)
    assert isinstance(found, Known)
    latency = row("qna", 224)["latency_median_s"]
    assert (found.value, found.low, found.high) == pytest.approx((latency, 0.985 * latency, 1.018 * latency))
    assert (found.between, found.rows) == ((), ("qna-224x224",))


def test_a_power_of_the_pixels_is_read_off_exactly_and_said_to_be() -> None:
    """The made-up figures grow as a power of the number of pixels, which is a straight line on logarithmic axes."""
    given = rows(row("hmhsa", 224), row("hmhsa", 512), row("hmhsa", 1024))
    for metric in ("latency_median_s", "memory_peak_bytes", "macs", "throughput_img_per_s"):
        found = at(given, metric, 384)
        assert isinstance(found, Known)
        assert found.value == pytest.approx(row("hmhsa", 384)[metric], rel=1e-6)
        assert found.between == ("224", "512")
        assert "read off between 224 and 512" in found.words
        assert found.low <= found.value <= found.high


def test_images_of_the_same_shape_go_before_others_and_others_by_their_pixels() -> None:
    long = [row("mhsa", 256, 512, latency_median_s=2.0), row("mhsa", 512, 1024, latency_median_s=8.0)]
    square = [row("mhsa", 256, latency_median_s=1.0), row("mhsa", 1024, latency_median_s=16.0)]
    both = at(rows(*long, *square), "latency_median_s", 384, 768)
    alone = at(rows(*square), "latency_median_s", 384, 768)
    assert isinstance(both, Known)
    assert isinstance(alone, Known)
    assert both.between == ("256x512", "512x1024")
    assert alone.between == ("256", "1024")
    assert both.value == pytest.approx(2 * (384 * 768 / (256 * 512)))
    assert alone.value == pytest.approx((384 * 768) / 256**2)


def test_another_shape_with_as_many_pixels_says_so() -> None:
    found = at(rows(row("mhsa", 256, 1024), row("mhsa", 1024)), "latency_median_s", 512)
    assert isinstance(found, Known)
    assert "as at 256x1024, which has as many pixels" in found.words


@pytest.mark.parametrize(
    ("given", "size", "why"),
    [
        ([row("qna", 224), row("qna", 512)], 768, "measured at 224 to 512, which says nothing of what lies beyond"),
        ([row("qna", 224)], 512, "measured at 224 alone"),
        ([row("qna", 224), failed("qna", 512, "out-of-memory", "too large")], 384, "at 512: out-of-memory: too large"),
        ([failed("qna", 224, "timeout", "no answer")], 224, "timeout: no answer"),
        ([row("qna", 224, suspicious="too fast")], 224, "not ranked: too fast"),
        ([row("qna", 224, suspicious="too fast"), row("qna", 512)], 384, "at 224: not ranked: too fast"),
        ([row("qna", 224, latency_median_s=None)], 224, "it was not measured"),
    ],
)
def test_what_cannot_be_known_has_its_reason(given: list[dict[str, Any]], size: int, why: str) -> None:
    found = at(rows(*given), "latency_median_s", size)
    assert isinstance(found, Unknown)
    assert why in found.why


def test_an_accuracy_is_that_of_the_mechanism_and_never_read_off() -> None:
    one = rows(row("qna", 224, accuracy_top1=0.8), row("qna", 512, accuracy_top1=0.8))
    two = rows(row("qna", 224, accuracy_top1=0.8), row("qna", 512, accuracy_top1=0.7))
    found = at(one, "accuracy_top1", 384)
    assert isinstance(found, Known)
    assert (found.value, found.between) == (0.8, ())
    assert isinstance(at(two, "accuracy_top1", 384), Unknown)
