from __future__ import annotations

import io
import subprocess
import sys

import pandas as pd
import pytest
from records_for_reports import (
    BUILT_IN,
    OUT_OF_MEMORY,
    all_failed,
    counted_only,
    default_run,
    failed,
    many_mechanisms,
    row,
    single_resolution,
    with_accuracy,
)
from rich.console import Console

from attnbench.report.comparison import prepared
from attnbench.report.findings import Findings
from attnbench.report.page.screen import screen
from attnbench.report.summary import summary, tables


def shown(frame, width=80, **console):
    out = io.StringIO()
    Console(file=out, width=width, **console).print(screen(tables(Findings(rows=prepared(frame)))))
    # What rich sets is as wide as its table: blanks at the end of a line say nothing.
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def line_of(text, name, resolution="224"):
    lines = text.splitlines()
    start = lines.index(f"resolution {resolution}")
    return next(line for line in lines[start:] if line.startswith(name))


def test_the_default_run_fits_eighty_columns_with_every_column():
    text = shown(default_run())
    assert max(map(len, text.splitlines())) <= 80
    assert "Hidden to fit" not in text
    for heading in ("params", "MACs", "attn", "latency", "vs", "throughput", "peak"):
        assert heading in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("frame", [default_run(), with_accuracy(many_mechanisms()), all_failed()])
def test_nothing_is_wider_than_the_screen(frame, width):
    widest = max(map(len, shown(frame, width).splitlines()))
    assert widest <= width


def test_a_wide_screen_has_both_ends_of_the_intervals_a_narrow_one_the_farther():
    assert "16.0  [15.8, 16.3]" in shown(default_run(), 130)
    assert "16.0  ±0.3" in shown(default_run(), 80)


def lopsided():
    """Return cells of which one has an interval whose ends lie about as far away, and others not."""
    wide = {"latency_median_s": 0.00706, "latency_ci_low_s": 0.00258, "latency_ci_high_s": 0.02071}
    ratios = {"latency_ratio": 0.918, "latency_ratio_ci_low": 0.268, "latency_ratio_ci_high": 2.074}
    below = {"latency_ratio": 0.668, "latency_ratio_ci_low": 0.154, "latency_ratio_ci_high": 0.812}
    return pd.DataFrame([row(), row("shapes.py:MacsInInt", **wide, **ratios), row("dil.py:Dilated_Gates", **below)])


@pytest.mark.parametrize("width", [64, 80, 85])
def test_a_narrow_screen_has_both_ends_of_a_lopsided_interval_rather_than_a_column_more(width):
    text = shown(lopsided(), width)
    assert max(map(len, text.splitlines())) <= width
    for found in ("7.06* [3, 21]", "[0.3, 2.1]", "[0.15, 0.81]", "16.0* ±0.3"):
        assert found in text
    assert "±13" not in text
    assert "throughput" in text.split("Hidden to fit")[1]


def test_signs_are_explained_that_are_there_and_no_others():
    assert "± to the farther end of the 95 % interval; [ ] 95 % interval" in shown(lopsided(), 80).replace("\n", " ")
    assert "[ ]" not in shown(default_run(), 80)
    assert "±" not in shown(default_run(), 140)
    assert "best" not in shown(default_run().iloc[:1])


def test_columns_that_no_row_fills_are_not_there_nor_what_explains_them():
    text = shown(counted_only())
    assert [word in text for word in ("params", "MACs", "attn", "* best;")] == [True] * 4
    for absent in ("latency", "vs", "throughput", "peak", "interval", " - "):
        assert absent not in text


def test_where_nothing_was_measured_names_and_reasons_remain():
    assert "mhsa  crashed: killed by signal 9" in shown(all_failed())


def test_columns_without_room_are_named():
    text = shown(default_run(), 64)
    assert "throughput" not in text.split("Hidden to fit")[0]
    assert "Hidden to fit the terminal: throughput" in text


def test_the_best_is_marked_in_its_row_and_without_colour():
    text = shown(default_run(), no_color=True)
    assert "12.5*" in line_of(text, "qna")
    assert [name for name in BUILT_IN if "*" in line_of(text, name)] == ["qna"]
    assert "\x1b" not in text


def test_colour_adds_nothing_that_the_text_does_not_say():
    frame = default_run()
    plain = Console(file=io.StringIO(), width=80, force_terminal=True, no_color=True)
    with plain.capture() as captured:
        plain.print(screen(tables(Findings(rows=prepared(frame)))))
    assert "[32m" not in captured.get()
    assert "12.5*" in captured.get()


def test_a_failed_cell_shows_status_reason_and_what_was_counted():
    text = shown(default_run())
    line = line_of(text, "lavit", "512")
    assert "330" in line
    assert "out-of-memory: needs 43.1 GiB" in line
    assert OUT_OF_MEMORY in " ".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_long_reason_stands_whole_below_the_tables_and_its_number_in_the_line(width):
    reason = " ".join(f"word{number}" for number in range(100))
    sizes = (224, 512)
    frame = pd.DataFrame(
        [each for size in sizes for each in (row(height=size), failed("swin", size, "failed", reason))]
    )
    text = shown(frame, width)
    assert [line_of(text, "swin", str(size)).endswith("failed, see ¹") for size in sizes] == [True, True]
    assert " ".join(text.split()).endswith(f"¹ failed: {reason}")
    assert text.count("word99") == 1


def test_reasons_are_numbered_after_the_notes():
    frame = pd.DataFrame([row("mhsa", adaptation="padded"), failed("swin", 224, "failed", "word " * 100)])
    text = shown(frame)
    assert "failed, see ²" in line_of(text, "swin")
    assert "¹ adapted: padded\n² failed: word" in text


def test_a_reason_stands_below_where_the_last_column_was_measured():
    frame = with_accuracy(single_resolution())
    lines = shown(frame).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("lavit"))
    assert "77.1" in lines[start]
    assert "unsupported: binds a layer" in lines[start + 1]


def test_what_is_the_same_for_all_stands_once_above():
    text = shown(default_run())
    assert text.startswith("backbone, infer, float32, batch 1, cpu, Xeon 8480, 2 cores, threads 2\n")
    assert text.count("float32") == 1


def test_what_varies_stands_above_its_table():
    frame = pd.concat([single_resolution(), single_resolution().assign(dtype="bfloat16")])
    text = shown(frame)
    assert "resolution 224, float32\n" in text
    assert "resolution 224, bfloat16\n" in text


def test_a_padded_map_has_a_mark_and_a_note():
    frame = pd.DataFrame([row(), row("swin", adaptation="padded 56x56 to 63x63")])
    text = shown(frame)
    assert line_of(text, "swin").startswith("swin¹")
    assert "¹ adapted: padded 56x56 to 63x63" in text


def test_accuracy_says_of_which_kind_it_is():
    assert "top-1: proxy, on digits, 10 epochs, 3 seeds" in " ".join(shown(with_accuracy(single_resolution())).split())


def test_long_names_are_folded_and_not_cut():
    name = "./mine.py:MyAttentionWithAVeryLongName"
    text = shown(pd.DataFrame([row(), row(name, label=name)]))
    folded = "".join(line.split(" ")[0] for line in text.splitlines())
    assert name in folded


def test_names_take_the_width_that_is_left_before_they_are_folded():
    name = "./mine.py:MyAttentionWithAVeryLongName"
    assert name in shown(pd.DataFrame([row(), row(name, label=name)]), 140)


def test_brackets_in_a_name_are_text():
    assert "[bold]x" in shown(pd.DataFrame([row("x", label="[bold]x")]))


def test_an_empty_frame_says_so():
    assert shown(default_run().iloc[:0]) == "nothing was recorded\n"


def test_tables_import_neither_torch_nor_matplotlib():
    code = (
        "import sys, attnbench.report.summary, attnbench.report.document, attnbench.report.page.markdown\n"
        "sys.exit(bool({'torch', 'matplotlib', 'seaborn', 'mechanisms'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_heading_as_wide_as_its_column_does_not_shift_those_after_it():
    headings, _, rule = shown(default_run()).splitlines()[3:6]
    assert headings.endswith("peak")
    assert len(headings) == len(rule) - 1  # the last character of the rule is above the sign


CROSSOVERS = "\nCrossovers of latency, in pixels a side\n"


def whole_screen(frame):
    out = io.StringIO()
    Console(file=out, width=80).print(screen(summary(Findings(rows=prepared(frame)))))
    return out.getvalue()


def crossovers_on_screen(frame):
    return [line.rstrip() for line in whole_screen(frame).split(CROSSOVERS)[1].splitlines()]


def test_a_screen_has_few_lines_whoever_takes_part():
    lines = crossovers_on_screen(many_mechanisms(20, sizes=(112, 224, 384, 512)))
    assert len(lines) <= 2 * 9
    assert max(map(len, lines)) <= 80
    assert "ahead from" in lines[0]
    assert lines[-1].endswith("more in report.md")


def test_mechanisms_of_which_the_same_is_said_share_a_line():
    assert "- hmhsa, qna against mhsa: ahead at 224 and 384" in crossovers_on_screen(default_run())


@pytest.mark.parametrize("frame", [default_run().query("res_height == 224"), pd.DataFrame()])
def test_a_screen_stays_as_it_was_where_nothing_can_cross(frame):
    assert CROSSOVERS not in whole_screen(frame)


def test_three_lines_of_notes_at_most_the_gravest_first_and_where_the_others_are():
    notes = {"call_warnings": "slow", "adaptation": "padded", "latency_interference": "busy " * 40}
    frame = pd.DataFrame([row(), row("swin", latency_stopped_by="max-time", macs_doubt="hidden", **notes)])
    lines = shown(frame).splitlines()
    (start,) = [place for place, line in enumerate(lines) if line.startswith("¹ ")]
    assert lines[start:] == ["¹ MACs are not ranked: hidden", "² adapted: padded", "³ to ⁵: in report.md"]
    two = shown(pd.DataFrame([row(), row("swin", adaptation="padded", latency_interference="busy " * 40)]))
    assert two.splitlines()[-1].startswith("² timing disturbed: busy busy")
    assert two.splitlines()[-1].endswith("busy ...")
    assert max(map(len, two.splitlines())) <= 80
