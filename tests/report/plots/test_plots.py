from __future__ import annotations

import itertools
import math
import subprocess
import sys

import matplotlib as mpl
import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image
from records_for_reports import (
    BUILT_IN,
    all_failed,
    default_run,
    failed,
    many_mechanisms,
    row,
    single_resolution,
    with_accuracy,
    with_task,
)

from attnbench.report import plots
from attnbench.report.comparison import prepared
from attnbench.report.palette import built_in, styles


def figures(frame):
    return plots.figures(prepared(frame))


def draw(frame, folder):
    return plots.draw(prepared(frame), folder)


def rectangles():
    sizes = ((224, 224), (224, 448), (448, 224), (240, 240), (256, 256), (1024, 1024))
    return pd.DataFrame([row(name, *size) for size in sizes for name in BUILT_IN])


def compiled():
    forms = (("", False), (", compiled", True))
    return pd.DataFrame(
        [
            row(name, size, label=name + end, compiled=flag)
            for size in (224, 512)
            for name in BUILT_IN
            for end, flag in forms
        ]
    )


FRAMES = {
    "default": with_accuracy(default_run()),
    "single": with_accuracy(single_resolution()),
    "many": with_accuracy(many_mechanisms()),
    "many at one": with_accuracy(many_mechanisms(sizes=(224,))),
    "one mechanism": default_run().query("mechanism == 'swin'"),
    "one row": single_resolution().iloc[:1],
    "rectangles": rectangles(),
    "compiled": compiled(),
    "task": with_task(single_resolution()),
    "task of many": with_task(many_mechanisms(sizes=(224, 384))),
}
DRAWN = {name: dict(figures(frame)) for name, frame in FRAMES.items()}


def texts(figure):
    """Return every visible text of a figure that has something to say."""
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def words(figure):
    return " ".join(text.get_text() for text in texts(figure))


def colors_of(figure, label):
    """Return the colours of the lines of a label, in the axes and in the legend."""
    return {line.get_color() for line in figure.findobj(mpl.lines.Line2D) if line.get_label() == label}


@pytest.mark.parametrize(
    ("frame", "name"), [(frame, name) for frame, drawn in DRAWN.items() for name in drawn if "accuracy-3" not in name]
)
def test_no_text_overlaps_another_or_leaves_the_figure(frame, name):
    figure = DRAWN[frame][name]
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    # Of an annotation the text alone: its leader may pass under another name.
    boxes = [(text.get_text(), Text.get_window_extent(text, renderer)) for text in texts(figure)]
    for (one, box), (other, beside) in itertools.combinations(boxes, 2):
        assert not box.padded(-0.5).overlaps(beside.padded(-0.5)), (one, other)
    for text, box in boxes:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, text


def test_axes_carry_their_units():
    drawn = DRAWN["default"]
    assert drawn["latency"].axes[0].get_ylabel() == "latency (ms)"
    assert drawn["memory"].axes[0].get_ylabel() == "peak memory (MiB)"
    assert drawn["macs"].axes[0].get_ylabel() == "MACs per image (GMACs)"
    assert "pixels" in drawn["latency"].axes[0].get_xlabel()
    assert drawn["accuracy-224"].axes[0].get_xlabel() == "latency (ms)"
    assert drawn["accuracy-224"].axes[0].get_ylabel() == "top-1 accuracy (%)"
    assert DRAWN["single"]["latency"].axes[0].get_xlabel() == "latency (ms)"


def test_a_task_has_a_panel_for_each_mechanism_with_its_mean_and_what_its_reach_allows():
    figure = DRAWN["task of many"]["task-shift"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(many_mechanisms()["mechanism"].unique())
    assert "offset (tokens)" in words(figure)
    most, guessing, mean = figure.axes[0].lines
    assert mean.get_ydata() == pytest.approx([99, 90, 60, 13, 12])
    assert most.get_ydata() == pytest.approx([100, 90, 70, 30, 12.5])
    assert set(guessing.get_ydata()) == {12.5}


def test_resolutions_are_the_ticks_and_pixels_their_places():
    axes = DRAWN["default"]["latency"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["224", "384", "512"]
    assert list(axes.get_xticks()) == [224**2, 384**2, 512**2]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_resolutions_of_equally_many_pixels_share_a_tick():
    labels = [label.get_text() for label in DRAWN["rectangles"]["latency"].axes[0].get_xticklabels()]
    assert "224x448\n448x224" in labels


def line_of(figure, label):
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == label)
    return line


@pytest.mark.parametrize("name", ["mhsa", "qna"])
def test_points_are_drawn_where_they_were_measured(name):
    frame = default_run().query(f"mechanism == '{name}' and status == 'ok'")
    pixels = frame["res_height"] * frame["res_width"]
    line = line_of(DRAWN["default"]["latency"], name)
    np.testing.assert_allclose(line.get_ydata(), 1000 * frame["latency_median_s"])
    np.testing.assert_allclose(line.get_xdata(), pixels, rtol=0 if name == "mhsa" else 0.05)


@pytest.mark.parametrize("run", ["default", "many", "compiled"])
def test_mechanisms_with_intervals_stand_beside_each_other_the_baseline_at_its_resolution(run):
    frame, figure = FRAMES[run], DRAWN[run]["latency"]
    labels, (low, high) = list(frame["label"].unique()), figure.axes[0].get_xlim()
    places = {label: line_of(figure, label).get_xdata()[0] for label in labels}
    order = sorted(places, key=places.get)
    assert len(set(places.values())) == len(labels)
    assert [label for label in order if label != "mhsa"] == [label for label in labels if label != "mhsa"]
    assert all(low < x < high for label in labels for x in line_of(figure, label).get_xdata())


@pytest.mark.parametrize("name", ["macs", "memory"])
def test_exact_figures_stand_at_their_resolution(name):
    frame = FRAMES["default"]
    pixels = frame.loc[frame["label"] == "swin", "res_height"] * frame.loc[frame["label"] == "swin", "res_width"]
    assert set(line_of(DRAWN["default"][name], "swin").get_xdata()) <= set(pixels)


@pytest.mark.parametrize("run", ["default", "many", "compiled"])
def test_lines_have_the_dashes_of_their_key(run):
    frame = FRAMES[run]
    looks = styles(zip(frame["mechanism"], frame["label"], strict=True), first=built_in())
    for label, look in looks.items():
        line = line_of(DRAWN[run]["macs"], label)
        assert line.is_dashed() == bool(look.dash), label


def test_intervals_stand_where_their_points_do_and_none_on_another():
    figure = DRAWN["default"]["latency"]
    width = figure.axes[0].get_window_extent().width / figure.dpi
    low, high = np.log10(figure.axes[0].get_xlim())
    bars = {_color(bar): [each[0, 0] for each in bar.get_segments()] for bar in figure.axes[0].collections}
    for name in BUILT_IN:
        np.testing.assert_allclose(bars[line_of(figure, name).get_color().lower()], line_of(figure, name).get_xdata())
    firsts = sorted(np.log10(places[0]) * width / (high - low) for places in bars.values())
    assert min(np.diff(firsts)) > 0.05


def test_lines_that_cover_each_other_are_named():
    frame = default_run().query("status == 'ok'")
    equal = frame["mechanism"].isin(["swin", "qna"])
    frame.loc[equal, "memory_peak_bytes"] = 1000 * frame["res_height"]
    drawn = dict(figures(frame))
    assert "equal within 1 %: swin, qna" in " ".join(words(drawn["memory"]).split())
    for column in ("latency_median_s", "latency_ci_low_s", "latency_ci_high_s"):
        frame[column] = frame["memory_peak_bytes"]
    assert "equal" not in words(dict(figures(frame))["latency"])


def test_the_axis_of_resolutions_fits_squares_and_others():
    for run in ("default", "rectangles"):
        label = DRAWN[run]["latency"].axes[0].get_xlabel()
        assert "side, or height x width" in label


def test_intervals_are_drawn_from_end_to_end():
    frame = default_run().query("mechanism == 'qna'")
    bars = dict(figures(frame))["latency"].axes[0].collections
    assert {_color(bar) for bar in bars} == {_ink_of("qna")}
    ends = np.concatenate([segment[:, 1] for bar in bars for segment in bar.get_segments()])
    np.testing.assert_allclose(ends[::2], 1000 * frame["latency_ci_low_s"])
    np.testing.assert_allclose(ends[1::2], 1000 * frame["latency_ci_high_s"])


def rings(figure):
    """Return the marks of crossings, whose fill is white."""
    lines = [line for axes in figure.axes[:1] for line in axes.lines]
    return [line for line in lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]


def test_a_crossing_with_the_baseline_is_ringed_on_its_curve():
    figure = DRAWN["default"]["latency"]
    (ring,) = rings(figure)
    # 1.12 n = n**2 for n = 1.12 times the pixels of 224
    assert ring.get_xdata()[0] == pytest.approx(1.12 * 224**2)
    assert ring.get_ydata()[0] == pytest.approx(16 * 1.12**2)
    assert ring.get_markeredgecolor().lower() == _ink_of("swin")
    assert "rings: crossings with mhsa" in words(figure)


def test_a_latency_has_a_bar_along_its_interval_and_an_exact_figure_none():
    bars = {
        name: [line for line in figure.axes[0].lines if line.get_linewidth() < 1 and len(line.get_xdata()) == 2]
        for name, figure in DRAWN["default"].items()
        if name in ("latency", "memory")
    }
    (bar,) = bars["latency"]
    low, high = bar.get_xdata()
    assert low < 1.12 * 224**2 < high
    assert bars["memory"] == []
    assert len(rings(DRAWN["default"]["memory"])) == 1


def test_without_a_certain_crossing_nothing_is_ringed():
    frame = pd.DataFrame([row(name, size) for size in (224, 512) for name in ("mhsa", "qna")])
    assert [rings(figure) for _, figure in figures(frame)] == [[], [], []]
    assert "rings" not in words(dict(figures(frame))["latency"])


def _color(bar):
    return matplotlib.colors.to_hex(bar.get_color()[0])


def _ink_of(name):
    return styles([(name, name)], first=built_in())[name].color.lower()


@pytest.mark.parametrize("run", ["default", "many", "rectangles"])
def test_a_mechanism_has_one_colour_in_every_plot_of_a_run(run):
    for name in BUILT_IN:
        assert len(set().union(*(colors_of(figure, name) for figure in DRAWN[run].values()))) == 1, name


def test_mechanisms_that_are_drawn_together_have_colours_of_their_own_as_long_as_there_are_enough():
    figure = DRAWN["default"]["latency"]
    assert len(set().union(*(colors_of(figure, name) for name in BUILT_IN))) == len(BUILT_IN)


def test_a_failed_cell_has_a_cross_at_its_resolution_and_its_status():
    figure = DRAWN["default"]["latency"]
    assert "lavit: out-of-memory" in words(figure)
    assert "mhsa: timeout" in words(figure)
    strip = figure.axes[1]
    assert [list(line.get_xdata()) for line in strip.lines] == [[512**2], [512**2]]
    assert {line.get_marker() for line in strip.lines} == {"x"}
    assert strip.get_xlim() == figure.axes[0].get_xlim()


def test_a_failed_cell_that_was_counted_is_a_point_among_the_macs():
    figure = DRAWN["default"]["macs"]
    assert len(figure.axes) == 1
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == "lavit")
    assert len(line.get_xdata()) == 3


def test_one_resolution_is_drawn_as_rows_the_best_first_the_failed_last():
    axes = DRAWN["single"]["latency"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["qna", "hmhsa", "mhsa", "swin", "lavit"]
    assert axes.get_xlim()[0] == 0
    assert "unsupported" in words(DRAWN["single"]["latency"])
    assert "12.5 ms [12.3, 12.7]" in words(DRAWN["single"]["latency"])


def test_lines_are_named_at_their_ends_and_otherwise_in_a_legend():
    assert DRAWN["default"]["latency"].axes[0].get_legend() is None
    legend = DRAWN["many"]["latency"].axes[0].get_legend()
    assert len(legend.get_texts()) == 14


@pytest.mark.parametrize("frame", [all_failed(), all_failed().iloc[:3]])
def test_where_nothing_was_measured_nothing_is_drawn(tmp_path, frame):
    assert draw(frame, tmp_path / "plots") == []


def test_what_varies_is_in_the_name_of_the_file():
    modes = pd.concat(
        [default_run().assign(dtype=kind, mode=mode) for kind in ("float32", "bfloat16") for mode in ("infer", "train")]
    )
    names = [name for name, _ in figures(modes)]
    assert names[:4] == [
        "latency-infer-float32",
        "latency-train-float32",
        "latency-infer-bfloat16",
        "latency-train-bfloat16",
    ]
    assert names[-1] == "macs"


def test_what_no_file_name_can_say_replaces_no_plot_and_what_is_too_long_for_one_is_cut():
    machines = [default_run().assign(hardware=name, environment_id=name) for name in ("\u00e4", "\u00f6", "C" * 300)]
    names = [name for name, _ in figures(pd.concat(machines)) if name.startswith("latency")]
    assert names == ["latency", "latency-2", f"latency-{'c' * 152}", "latency-machine-by-machine"]


def test_signs_of_formulas_in_a_name_are_written_as_they_are():
    name = r"mine.py:A, kind=$\frac$"
    frame = pd.concat([default_run(), pd.DataFrame([row(name, size) for size in (224, 384, 512)])])
    assert all(name in words(figure) for _, figure in figures(frame))


def test_macs_of_several_stages_say_whose_they_are():
    stages = [default_run().assign(scope="layer", stage=stage, dim=96 * stage) for stage in (1, 2)]
    drawn = dict(figures(pd.concat(stages)))
    assert "layer, stage 2, dim 192" in words(drawn["macs-stage-2-dim-192"])


def test_kinds_of_accuracy_are_never_in_one_plot():
    frame = with_accuracy(single_resolution())
    frame["accuracy_kind"] = ["proxy", "proxy", "published", "published", "proxy"]
    assert [name for name, _ in figures(frame) if name.startswith("accuracy")] == [
        "accuracy-proxy-digits",
        "accuracy-published-digits",
    ]


def test_each_score_has_a_plot_of_its_own_against_latency():
    frame = with_accuracy(single_resolution())
    frame["accuracy_kind"], frame["dataset"] = "composites", "composite-detection"
    frame["ap_box"], frame["ap_mask"] = frame["accuracy_top1"] - 0.5, np.nan
    frame["accuracy_top1"] = np.nan
    drawn = dict(figures(frame))
    assert [name for name in drawn if name.startswith(("accuracy", "ap", "miou"))] == ["ap-box"]
    said = " ".join(words(drawn["ap-box"]).split())
    assert "Box AP on composites against latency" in said
    assert "average precision of boxes on composites (%)" in said


def test_who_is_missing_from_accuracy_against_latency_is_named():
    frame = with_accuracy(single_resolution())
    frame.loc[0, ["accuracy_top1", "accuracy_status"]] = [np.nan, "timeout"]
    found = " ".join(words(dict(figures(frame))["accuracy"]).split())
    assert "not there: lavit (unsupported), mhsa (accuracy timeout)" in found


def test_accuracy_without_any_latency_is_not_drawn():
    assert list(figures(with_accuracy(all_failed()))) == []


@pytest.mark.parametrize("ends", [(0.0, 0.02), (1.0, 2.0), (0.001, math.inf)])
@pytest.mark.parametrize("sizes", [(224,), (224, 512)])
def test_an_interval_that_no_axis_can_show_is_left_out(sizes, ends):
    columns = dict(zip(("latency_ci_low_s", "latency_ci_high_s"), ends, strict=True))
    frame = pd.DataFrame([each for size in sizes for each in (row("mhsa", size), row("swin", size, **columns))])
    assert "swin" in words(dict(figures(frame))["latency"])


def test_a_mechanism_may_be_missing_anywhere():
    frame = pd.DataFrame([row(), row("mhsa", 512), row("swin", 512), failed("qna", 224, "crashed", "signal 9")])
    frame.loc[2, "memory_peak_bytes"] = np.nan
    drawn = dict(figures(frame))
    assert list(drawn) == ["latency", "memory", "macs"]
    assert "swin" not in words(drawn["memory"])


@pytest.mark.parametrize("frame", [pd.DataFrame(), default_run().iloc[:0]])
def test_nothing_recorded_draws_nothing(tmp_path, frame):
    assert draw(frame, tmp_path / "plots") == []


def test_the_same_rows_give_the_same_bytes(tmp_path):
    frame = with_accuracy(single_resolution())
    first, second = draw(frame, tmp_path / "a"), draw(frame, tmp_path / "b")
    assert [path.name for path in first] == [path.name for path in second]
    assert {path.suffix for path in first} == {".png", ".svg"}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_pictures_have_at_least_150_dots_per_inch(tmp_path):
    path = next(path for path in draw(single_resolution(), tmp_path) if path.suffix == ".png")
    with Image.open(path) as picture:
        assert round(picture.info["dpi"][0]) >= 150


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were():
    before = dict(mpl.rcParams)
    figures_ = list(figures(single_resolution()))
    assert figures_
    assert dict(mpl.rcParams) == before


def test_settings_of_the_caller_do_not_change_a_plot(tmp_path):
    plain = draw(single_resolution(), tmp_path / "a")[1].read_bytes()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9, "savefig.facecolor": "red"}):
        dressed = draw(single_resolution(), tmp_path / "b")[1].read_bytes()
    assert plain == dressed


def test_plots_import_no_torch_and_open_no_window():
    code = (
        "import sys, attnbench.report.plots, matplotlib.pyplot as plt\n"
        "sys.exit('torch' in sys.modules or bool(plt.get_fignums()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_line_joins_square_images_only_and_wide_ones_among_themselves():
    mixed = pd.DataFrame([row("mhsa", 224), row("mhsa", 128, 256), row("mhsa", 448)])
    wide = pd.DataFrame([row("mhsa", 112, 224), row("mhsa", 128, 256)])
    for frame, joined, loose in ((mixed, [224**2, 448**2], [[128 * 256]]), (wide, [112 * 224, 128 * 256], [])):
        figure = next(figure for name, figure in figures(frame) if name == "macs")
        lines = [line for line in figure.axes[0].lines if line.get_label() == "mhsa"]
        assert [list(line.get_xdata()) for line in lines if line.get_linestyle() == "-"] == [joined]
        assert [list(line.get_xdata()) for line in lines if line.get_linestyle() == "None"] == loose


@pytest.mark.parametrize(("name", "said"), [("latency", True), ("macs", False)])
def test_only_a_plot_with_intervals_says_that_mechanisms_stand_side_by_side(name, said):
    words = " ".join(text.get_text().replace("\n", " ") for text in DRAWN["default"][name].texts)
    assert ("side by side at each resolution" in words) == said
