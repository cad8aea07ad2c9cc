from __future__ import annotations

import re

import pandas as pd
import pytest
from records_for_reports import (
    OUT_OF_MEMORY,
    all_failed,
    counted_only,
    default_run,
    failed,
    row,
    single_resolution,
    with_accuracy,
)

from attnbench.report.comparison import prepared
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import NOT_MEASURED, markdown
from attnbench.report.plots import draw

COMMAND = "attnbench run --mechanisms hmhsa,qna --res 224,512"
HERE = {"e1f0": [("cpu", "Xeon 8480"), ("torch", "2.11.0")]}


@pytest.fixture
def report(tmp_path):
    def written(frame, environments=HERE, **options):
        findings = Findings(rows=prepared(frame), environments=environments)
        return markdown(document(findings, **({"command": COMMAND} | options)), tmp_path / "run")

    return written


def section(text, heading):
    return re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], flags=re.MULTILINE)[0]


def cells(text, name):
    """Return the cells of the first table row that begins with a name."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_table_has_as_many_cells_in_each_row_as_in_its_heading(report):
    frame = with_accuracy(default_run())
    frame.loc[0, "reason"] = "a | b"
    for table in re.findall(r"(?:^\|.*\n)+", report(frame), flags=re.MULTILINE):
        counts = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1


def test_the_full_reason_of_a_failure_is_there_on_one_line(report):
    reason = "RuntimeError: " + "very long | reason\n" * 30
    text = section(report(pd.DataFrame([row(), failed("swin", 224, "failed", reason)])), "What did not run")
    assert cells(text, "swin") == ["swin", "224", "failed", ("RuntimeError: " + r"very long \| reason " * 30).strip()]


def test_a_failed_cell_stays_in_its_table(report):
    results = section(report(default_run()), "Results")
    line = cells(results.split("### Resolution 512")[1], "lavit")
    assert line[2] == "330"
    assert line[4] == "**out-of-memory**"
    assert OUT_OF_MEMORY not in results


def test_the_best_is_bold(report):
    results = section(report(single_resolution()), "Results")
    assert cells(results, "qna")[4] == "**12.5** [12.3, 12.7]"
    assert "**" not in "".join(cells(results, "mhsa"))


def test_units_stand_in_the_headings(report):
    results = section(report(default_run()), "Results")
    assert cells(results, "mechanism")[1:] == [
        "params (M)",
        "MACs (GMACs)",
        "attn (GMACs)",
        "latency (ms)",
        "vs mhsa",
        "throughput (img/s)",
        "peak (MiB)",
    ]


def test_the_command_is_there_to_be_copied(report):
    assert f"```sh\n{COMMAND}\n```" in section(report(default_run()), "How to run it again")


def test_a_command_with_a_fence_of_its_own_does_not_break_out(report):
    assert "````sh\necho '```'\n````" in report(default_run(), command="echo '```'")


def test_every_machine_is_described(report):
    text = report(default_run(), environments=HERE | {"b": [("gpu", "H200")]})
    machines = section(text, "Machine and software")
    assert cells(machines, "cpu") == ["cpu", "Xeon 8480"]
    assert cells(machines, "gpu") == ["gpu", "H200"]


def test_plots_are_linked_from_the_folder_of_the_report(report, tmp_path):
    plots = [tmp_path / "run" / "plots" / "latency.png", tmp_path / "run" / "plots" / "latency.svg"]
    assert section(report(default_run(), plots=plots), "Plots").strip() == "![latency](plots/latency.png)"


def test_a_report_without_a_measurement_refers_to_no_plot(report, tmp_path):
    assert "Plots" not in report(all_failed(), plots=draw(prepared(all_failed()), tmp_path / "run" / "plots"))


def test_machines_stand_side_by_side_and_no_ratio_joins_them(report):
    there = single_resolution().assign(run_id="r2", hardware="H200", environment_id="b", device="cuda")
    text = report(pd.concat([single_resolution(), there]), environments=HERE | {"b": [("gpu", "H200")]})
    beside = section(text, "Machines and runs side by side")
    assert cells(beside, "mechanism") == ["mechanism", "cpu, Xeon 8480, 2 cores", "cuda, H200"]
    assert cells(beside, "mhsa") == ["mhsa", r"16.0 ms \[15.8, 16.3\]", r"16.0 ms \[15.8, 16.3\]"]
    assert cells(beside, "lavit")[1] == "unsupported"
    assert "### Resolution 224, cuda, H200" in section(text, "Results")


def test_one_machine_is_not_set_beside_itself(report):
    assert "side by side" not in report(default_run())


def crossed(report, frame):
    return section(report(frame), "Crossovers")


def test_every_mechanism_stands_against_the_baseline(report):
    text = crossed(report, default_run())
    assert cells(text, "mechanisms") == ["mechanisms", "MACs per image", "latency", "peak memory"]
    assert cells(text, "swin against mhsa")[2:] == [r"ahead from 237 \[236, 238\]", "ahead from 237 (224 to 384)"]
    assert cells(text, "lavit against mhsa")[2] == "behind at 224 and 384"


def test_of_the_other_pairs_those_that_cross_are_listed_and_the_rest_counted(report):
    text = crossed(report, default_run())
    listed = re.findall(r"^\| (\w+) against (\w+)", text, flags=re.MULTILINE)
    assert listed[4:] == [("swin", "hmhsa"), ("swin", "lavit")]
    assert "Pairs that cross in none of these: 4." in text


def test_settings_have_tables_of_their_own_and_counts_one_for_all(report):
    frame = pd.concat([default_run(), default_run().assign(dtype="bfloat16")])
    tables = crossed(report, frame).split("### ")
    assert cells(tables[0], "mechanisms") == ["mechanisms", "MACs per image"]
    assert [table.split("\n")[0] for table in tables[1:]] == ["Float32", "Bfloat16"]
    assert cells(tables[2], "mechanisms") == ["mechanisms", "latency", "peak memory"]


def test_what_cannot_be_compared_in_a_metric_has_a_dash(report):
    frame = default_run()
    frame.loc[(frame["mechanism"] == "qna") & (frame["res_height"] > 224), "memory_peak_bytes"] = None
    assert cells(crossed(report, frame), "qna against mhsa")[3] == NOT_MEASURED


@pytest.mark.parametrize("frame", [single_resolution(), all_failed(), pd.DataFrame()])
def test_without_two_resolutions_there_is_no_section(report, frame):
    assert "Crossovers" not in report(frame)


def test_two_dtypes_are_not_two_machines(report):
    frame = pd.concat([single_resolution(), single_resolution().assign(dtype="bfloat16")])
    assert "side by side" not in report(frame)


def test_every_column_shown_is_explained(report):
    meanings = section(report(with_accuracy(default_run())), "What the columns mean")
    for metric in ("params", "macs", "macs_attention", "latency_median_s", "memory_peak_bytes", "accuracy_top1"):
        assert f"`{metric}`" in meanings


def test_units_are_said_to_be_those_of_the_file_and_every_figure_has_one(report):
    meanings = section(report(with_accuracy(default_run())), "What the columns mean")
    assert cells(meanings, "column")[3] == "unit in records.csv"
    units = {name: cells(meanings, name)[3] for name in ("params", "vs", "peak", "top-1")}
    assert units == {"params": "count", "vs": "ratio", "peak": "B", "top-1": "fraction"}
    assert "" not in [line.split("|")[4].strip() for line in meanings.splitlines() if line.startswith("| ")]


def test_columns_that_nobody_filled_are_neither_shown_nor_explained(report):
    text = report(counted_only())
    assert cells(section(text, "Results"), "mechanism") == ["mechanism", "params (M)", "MACs (GMACs)", "attn (GMACs)"]
    assert "latency" not in section(text, "What the columns mean")


def test_a_failure_has_a_column_where_every_other_is_filled(report):
    frame = counted_only()
    frame.loc[0, "status"] = "failed"
    assert cells(section(report(frame), "Results"), "mhsa")[-1] == "**failed**"
    results = section(report(all_failed()), "Results")
    assert cells(results, "qna") == ["qna", "**timeout**"]
    assert "What the columns mean" not in report(all_failed())


def test_notes_are_numbered_as_the_marks_in_the_tables(report):
    frame = single_resolution()
    frame["adaptation"] = [None, "padded 56x56 to 63x63", None, None, None]
    text = report(frame)
    assert cells(section(text, "Results"), "swin")[0] == "swin <sup>1</sup>"
    assert section(text, "Notes").strip() == "1. adapted: padded 56x56 to 63x63"


def test_statuses_are_counted(report):
    assert "- Cells: 13 ok, 1 timeout, 1 out-of-memory" in report(default_run())


@pytest.mark.parametrize("frame", [all_failed(), default_run().iloc[:0], pd.DataFrame()])
def test_a_report_is_written_whatever_happened(report, frame):
    assert report(frame, environments={}).startswith("# ")


def test_names_are_not_read_as_markup(report):
    assert r"my\_\*x\*" in report(pd.DataFrame([row(label="my_*x*")]))


def test_results_come_first_and_the_machine_last(report):
    headings = re.findall("^## (.*)", report(default_run(), missing=["qna at 1024"]), flags=re.MULTILINE)
    assert headings[:2] == ["What was run", "Results"]
    assert headings[-1] == "Machine and software"


def test_of_a_machine_what_is_known_is_told(report):
    machine = section(
        report(default_run(), environments={"a": [("cpu", "Xeon"), ("gpu", "not known")]}), "Machine and software"
    )
    assert "Xeon" in machine
    assert "not known" not in machine


def test_what_machines_share_is_told_once(report):
    one = {"a": [("cpu", "Xeon 8480"), ("threads", "1")], "b": [("cpu", "Xeon 8480"), ("threads", "2")]}
    machine = section(report(default_run(), environments=one), "Machine and software")
    assert machine.count("Xeon 8480") == 1
    assert [line for line in machine.splitlines() if "threads" in line] == ["| threads | 1 |", "| threads | 2 |"]
