import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from records_for_reports import BUILT_IN, all_failed, many_mechanisms, row

from attnbench.record import Mode
from attnbench.report import roofline
from attnbench.report.comparison import prepared
from attnbench.report.plots.canvas import box_of
from attnbench.roofline import MachineLimits, Work, bound

LIMITS = MachineLimits(
    device="cpu", threads=2, macs_per_s={"float32": 200e9, "bfloat16": 400e9, "float16": 10e9}, bytes_per_s=50e9
)
KNOWN = {"e1f0": LIMITS}


def frame(*sizes: int, slowed: float = 3.0, **columns: Any) -> pd.DataFrame:
    """Return the built-in mechanisms at some sizes, slow enough to stay under the roof."""
    rows = pd.DataFrame([row(name, size, **columns) for size in sizes for name in BUILT_IN])
    for column in ("latency_median_s", "latency_ci_low_s", "latency_ci_high_s"):
        rows[column] *= slowed
    return rows.assign(bytes_lower_bound=113_000_000 + 12 * rows["res_height"] * rows["res_width"])


def one(**columns: Any) -> pd.DataFrame:
    asked = {"macs": 2_000_000_000, "batch": 4, "bytes_lower_bound": 100_000_000, "latency_median_s": 0.1}
    return pd.DataFrame([row("mhsa", latency_ci_low_s=0.08, latency_ci_high_s=0.125, **(asked | columns))])


def only_figure(rows: pd.DataFrame, limits: MachineLimits = LIMITS) -> Figure:
    ((_, figure),) = roofline.figures(prepared(rows), {"e1f0": limits})
    return figure


def points(figure: Figure, label: str) -> list[tuple[float, float]]:
    """Return intensity and rate, in the unit of the axis, of a mechanism's points."""
    (found,) = [each for each in figure.axes[0].lines if each.get_label() == label]
    return coordinates(found)


def roof(figure: Figure) -> list[tuple[float, float]]:
    """Return where the roof begins, bends and ends."""
    (found,) = [each for each in figure.axes[0].lines if len(coordinates(each)) == 3 and each.get_color() == "black"]
    return coordinates(found)


def coordinates(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def texts(figure: Figure) -> list[Annotation]:
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation) and text.get_visible()]


def test_hand_numbers_of_a_point() -> None:
    # 8e9 MACs over 1e8 bytes, in 0.1 s, between 0.08 and 0.125 s.
    figure = only_figure(one())
    assert points(figure, "mhsa") == [pytest.approx((80, 80))]
    (bar,) = figure.axes[0].collections
    assert isinstance(bar, LineCollection)
    assert np.asarray(bar.get_segments()) == pytest.approx(np.array([[[80, 64], [80, 100]]]))


def test_a_training_step_achieves_three_times_the_multiply_adds_of_its_forward_pass() -> None:
    assert points(only_figure(one(mode="train")), "mhsa") == [pytest.approx((240, 240))]


def test_the_roof_rises_with_the_bandwidth_to_the_rate_of_the_dtype() -> None:
    (left, up), bend, (_, level) = roof(only_figure(one()))
    assert bend == pytest.approx((4, 200))
    assert (up, level) == pytest.approx((50 * left, 200))


@pytest.mark.parametrize(("dtype", "rate"), [("bfloat16", 400), ("float16", 200)])
def test_every_dtype_has_the_roof_that_its_bound_is_computed_from(dtype: str, rate: float) -> None:
    figure = only_figure(one(dtype=dtype))
    assert [height for _, height in roof(figure)[1:]] == pytest.approx([rate, rate])
    assert f"{dtype}: {rate} GMACs/s" in [text.get_text() for text in texts(figure)]


@pytest.mark.parametrize("macs", [2_000_000_000, 2_000_000])
def test_a_point_stands_under_the_roof_by_its_bound_share(macs: int) -> None:
    work = Work(
        macs=macs,
        batch=4,
        mode=Mode.INFER,
        dtype="float32",
        params_bytes=90_000_000,
        input_bytes=9_000_000,
        output_bytes=1_000_000,
    )
    share = bound(work, LIMITS).metrics(0.1)["roofline_fraction"]
    ((intensity, achieved),) = points(only_figure(one(macs=macs)), "mhsa")
    assert achieved / min(50 * intensity, 200) == pytest.approx(share)


def test_a_point_above_the_roof_is_shown_where_it_is() -> None:
    figure = only_figure(frame(224, slowed=0.1))
    ((_, achieved),) = points(figure, "qna")
    assert 200 < achieved < figure.axes[0].get_ylim()[1]


def side_by_side() -> pd.DataFrame:
    """Return points where the name of one would best stand."""
    rows = frame(224).assign(macs=[int(4e9 * 1.12**place) for place in range(5)])
    for column in ("latency_median_s", "latency_ci_low_s", "latency_ci_high_s"):
        rows[column] = rows["macs"] / 50e9
    return rows


def on_the_roof() -> pd.DataFrame:
    """Return points where the rate would best be named."""
    rows = side_by_side()
    for column in ("latency_median_s", "latency_ci_low_s", "latency_ci_high_s"):
        rows[column] = rows["macs"] / 210e9
    return rows


@pytest.mark.parametrize(
    "rows",
    [frame(224), frame(224, 384, 512), frame(224, slowed=0.5), frame(224, slowed=1e3), side_by_side(), on_the_roof()],
    ids=["one size", "three sizes", "near the roof", "far below", "side by side", "on the roof"],
)
def test_names_overlap_neither_each_other_nor_a_point(rows: pd.DataFrame) -> None:
    figure = only_figure(rows)
    boxes = [box_of(text) for text in texts(figure)]
    assert len(boxes) >= 2
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    drawn = [figure.axes[0].transData.transform(point) for label in BUILT_IN for point in points(figure, label)]
    assert not [(x, y) for x, y in drawn for box in boxes if box.contains(x, y)]


def test_every_mechanism_is_named_once() -> None:
    for rows, labels in ((frame(224), set(BUILT_IN)), (many_mechanisms().assign(bytes_lower_bound=10**8), None)):
        figure = only_figure(rows)
        legend = figure.axes[0].get_legend()
        named = [text.get_text() for text in texts(figure)] if legend is None else []
        named += [] if legend is None else [text.get_text() for text in legend.get_texts()]
        expected = labels or set(rows["label"])
        assert sorted(name for name in named if name in expected) == sorted(expected)


def test_points_of_a_mechanism_are_joined_from_the_smallest_image_to_the_largest() -> None:
    joined = points(only_figure(frame(512, 224, 384)), "mhsa")
    assert len(joined) == 3
    assert joined == sorted(joined)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first, again = (roofline.draw(prepared(frame(224, 384)), KNOWN, tmp_path / name) for name in ("first", "again"))
    assert [path.name for path in first] == ["roofline.png", "roofline.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_dtypes_have_files_of_their_own(tmp_path: Path) -> None:
    rows = pd.concat([frame(224), frame(224, dtype="bfloat16")])
    names = [path.stem for path in roofline.draw(prepared(rows), KNOWN, tmp_path)]
    assert sorted(set(names)) == ["roofline-bfloat16", "roofline-float32"]


@pytest.mark.parametrize(
    ("rows", "limits"),
    [
        (frame(224), {}),
        (frame(224, environment_id=None), KNOWN),
        (frame(224, dtype="float64"), KNOWN),
        (frame(224).assign(bytes_lower_bound=None), KNOWN),
        (all_failed().assign(bytes_lower_bound=None, environment_id="e1f0"), KNOWN),
    ],
    ids=["unknown machine", "no machine", "dtype without a rate", "nothing counted", "nothing timed"],
)
def test_what_cannot_be_placed_is_not_drawn(rows: pd.DataFrame, limits: dict[str, MachineLimits]) -> None:
    assert list(roofline.figures(prepared(rows), limits)) == []


def test_a_cell_that_crashed_first_does_not_hide_the_others() -> None:
    rows = frame(224)
    lost = {"environment_id": None, "hardware": None, "latency_median_s": None, "status": "crashed"}
    rows.loc[0, list(lost)] = list(lost.values())
    assert len(points(only_figure(rows), BUILT_IN[1])) == 1


def test_bounds_and_plots_are_made_without_torch() -> None:
    code = "import sys, attnbench.roofline, attnbench.report.roofline; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("column", ["latency_median_s", "bytes_lower_bound"])
def test_a_call_of_no_time_or_no_bytes_has_no_place(column: str) -> None:
    assert list(roofline.figures(prepared(one(**{column: 0})), KNOWN)) == []


def test_the_roof_says_when_and_beside_what_it_was_taken() -> None:
    taken = replace(LIMITS, conditions="the higher of two taken before the run (a load) and after it")
    said = " ".join(text.get_text() for text in only_figure(frame(224, 512), taken).texts)
    assert "roof: the higher of two taken before the run (a load) and after it" in " ".join(said.split())
